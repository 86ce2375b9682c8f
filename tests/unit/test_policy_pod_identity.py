"""What policies find a container by, from what a plugin is called with."""

import pytest

from shibafu.cni.args import join_args
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.policy.pod_identity import (
    PodIdentity,
    calc_identity_args,
    change_labels_arg,
    find_pod_identity,
    parse_named_port,
)

Stated = tuple[str, str, dict[str, str], list[tuple[str, str, int]]]


def show(identity: PodIdentity) -> Stated:
    return identity.namespace, identity.name, identity.labels, identity.ports


def test_a_container_of_which_nothing_is_stated() -> None:
    assert show(find_pod_identity({"name": "net"}, "")) == ("default", "", {}, [])


def test_what_kubernetes_states() -> None:
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_UID=7"
    labels = {"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "prod"}
    assert show(find_pod_identity({}, args)) == ("prod", "web-0", labels, [])


def test_labels_by_convention() -> None:
    stated = [{"key": "app", "value": "web"}, {"key": "empty", "value": ""}]
    assert find_pod_identity({"args": {"cni": {"labels": stated}}}, "").labels == {"app": "web", "empty": ""}


def test_annotations_are_taken_where_they_are_declared() -> None:
    annotations = {"org.shibafu.labels.app": "web", "other": "y"}
    config: dict[str, object] = {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}
    assert find_pod_identity(config, "").labels == {"app": "web"}


@pytest.mark.parametrize(
    "config",
    [
        {"args": []},
        {"args": {"cni": "x"}},
        {"args": {"cni": {"labels": {"app": "web"}}}},
        {"args": {"cni": {"labels": [{"key": 1, "value": "b"}]}}},
        {"args": {"cni": {"labels": [{"key": "a", "value": 1}]}}},
        {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": ["x"]}},
        {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"org.shibafu.labels.a": 1}}},
    ],
)
def test_malformed_labels_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(CniError) as caught:
        find_pod_identity(config, "")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    "config", [{"args": None}, {"args": {"cni": None}}, {"args": {"other": 1}}, {"runtimeConfig": None}]
)
def test_absent_labels_are_none(config: dict[str, object]) -> None:
    assert find_pod_identity(config, "SHIBAFU_LABELS=,a,:b;SHIBAFU_PORTS=a,b:x,c:0/tcp").labels == {}


def test_what_the_command_states_comes_through_cni_args() -> None:
    labels, ports = {"app": "web", "example.org/tier": ""}, [("http", "TCP", 80), ("dns", "UDP", 53)]
    args = join_args(calc_identity_args("prod", labels, ports))
    namespace_label = {"io.kubernetes.pod.namespace": "prod"}
    assert show(find_pod_identity({}, args)) == ("prod", "", namespace_label | labels, ports)
    assert args.startswith("IgnoreUnknown=1;")


def test_nothing_stated_is_no_argument() -> None:
    assert calc_identity_args("", {}, []) == {}


def test_the_strongest_label_counts() -> None:
    config: dict[str, object] = {
        "args": {
            "cni": {
                "labels": [{"key": "a", "value": "1"}, {"key": "b", "value": "1"}, {"key": "c", "value": "1"}]
            }
        },
        "runtimeConfig": {
            "io.kubernetes.cri.pod-annotations": {"org.shibafu.labels.b": "2", "org.shibafu.labels.c": "2"}
        },
    }
    assert find_pod_identity(config, "SHIBAFU_LABELS=c:3").labels == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("text", "expected"), [("80", (80, "TCP")), ("53/udp", (53, "UDP")), ("65535/SCTP", (65535, "SCTP"))]
)
def test_a_port(text: str, expected: tuple[int, str]) -> None:
    assert parse_named_port(text) == expected


@pytest.mark.parametrize("text", ["", "0", "080", "65536", "a", "80/icmp", "-1", "٨٠", "9" * 5000])
def test_what_is_not_a_port(text: str) -> None:
    with pytest.raises(ValueError, match="is not a port"):
        parse_named_port(text)


def test_labels_are_changed_and_removed() -> None:
    config: dict[str, object] = {"args": {"cni": {"labels": [{"key": "app", "value": "web"}]}}}
    args = change_labels_arg("K8S_POD_NAMESPACE=prod", {"tier": "front", "app": None})
    own = {"io.kubernetes.pod.namespace": "prod"}
    assert find_pod_identity(config, args).labels == {**own, "tier": "front"}
    args = change_labels_arg(args, {"tier": "back"})
    assert find_pod_identity(config, args).labels == {**own, "tier": "back"}
    args = change_labels_arg(args, {"app": "db", "tier": None})
    assert find_pod_identity(config, args).labels == {**own, "app": "db"}
    assert find_pod_identity(config, args).namespace == "prod"
