"""What annotations and flags of shibafu-hook ask for, and what a network is called with for it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from shibafu.cni.args import join_args
from shibafu.cni.errors import CniError
from shibafu.hook.settings import parse_flags, parse_networks, parse_settings
from shibafu.policy.pod_identity import find_pod_identity
from shibafu.runtime.conflist import load_conflist
from support.hook_annotations import settings

CONF = Path(__file__).parents[2] / "conf"


def test_networks_are_in_order() -> None:
    assert settings(network="blue, green,").networks == ["blue", "green"]
    assert settings(network="none").networks == []


def test_annotations_say_what_flags_do_not() -> None:
    asked = settings("--network=blue", "--hosts=/h", ip="10.0.0.2", resolv_conf="r", ports="8080:80")
    assert (asked.networks, asked.ips) == (["blue"], {"blue": ["10.0.0.2"]})
    assert (asked.hosts.path, asked.hosts.is_trusted) == ("/h", True)
    assert (asked.resolv_conf.path, asked.resolv_conf.is_trusted) == ("r", False)


@pytest.mark.parametrize(
    ("flags", "annotations"),
    [
        ("--network=blue", {"network": "green"}),
        ("--network=blue", {"network": "blue,green"}),
        ("--network=blue", {"network": ""}),
        ("--network=blue --ip=10.0.0.1", {"ip": "10.0.0.2"}),
        ("--network=blue --ip=10.0.0.1", {"ip__blue": "10.0.0.2"}),
        ("--network=blue --ip.blue=10.0.0.1", {"ip": "10.0.0.2"}),
        ("--network=blue --mac=02:00:00:00:00:01", {"mac__blue": "02:00:00:00:00:02"}),
        ("--network=blue --ports=", {"ports": "8080:80"}),
        ("--network=blue --bandwidth=egress=1M", {"bandwidth": "egress=1G"}),
        ("--network=blue --hosts=/h", {"hosts": "h"}),
        ("--network=blue --namespace=prod", {"namespace": "other"}),
        ("--network=blue --labels.app=web", {"labels__app": "db"}),
        ("--network=blue --named-ports=http=80", {"named_ports": "http=81"}),
        ("--network=blue --ip=10.0.0.1 --allow=ip.green", {"ip": "10.0.0.2"}),
        ("--network=blue --ip=10.0.0.1 --allow=ip=10.0.0.3|10.0.0.4", {"ip": "10.0.0.2"}),
        ("--network=blue --ip=10.0.0.1 --allow=ip=10.0.0.3|10.0.0.4", {"ip": "10.0.0.3,10.0.0.2"}),
        ("--network=blue --allow=network=green", {"network": "green,red"}),
        ("--allow=network=green", {"network": "red"}),
        ("--network=blue --allow=ip=", {"ip": "10.0.0.2"}),
        ("--network=blue", {"ports": "22:22"}),
        ("--network=blue --ports=8080:80", {"ports": "22:22"}),
        ("--allow=network", {"network": "blue", "ports": "8080:80,1023:22/udp"}),
        ("--network=blue --allow=ports=80:80", {"ports": "22:22"}),
    ],
)
def test_annotations_do_not_change_flags(flags: str, annotations: dict[str, str]) -> None:
    with pytest.raises(CniError, match=r"cannot override|not one of the values|below 1024"):
        settings(*flags.split(" "), **annotations)


@pytest.mark.parametrize(
    ("flags", "annotations"),
    [
        ("--network=blue", {"network": " blue,"}),
        ("--network=blue --allow=network", {"network": "green"}),
        ("--network=blue --allow=network=green|red", {"network": "red,green"}),
        ("--network=blue --ip=10.0.0.1 --allow=ip", {"ip__blue": "10.0.0.2"}),
        ("--network=blue --ip=10.0.0.1 --allow=ip.blue=10.0.0.2", {"ip": "10.0.0.2"}),
        ("--network=blue --allow=ports", {"ports": "22:22"}),
        ("--network=blue --allow=ports=80:80|443:443", {"ports": "443:443"}),
        ("--network=blue --ports=80:80", {"ports": "80:80"}),
        ("--conf-dir=/c --sticky-dir=/s", {"network": "blue", "ports": "80:80"}),
    ],
)
def test_what_is_allowed(flags: str, annotations: dict[str, str]) -> None:
    assert settings(*flags.split(" "), **annotations).networks


@pytest.mark.parametrize(
    ("flag", "key", "text"),
    [
        ("resolv-conf", "resolv_conf", "kept/names"),
        ("hosts", "hosts", "/srv/hosts"),
    ],
)
def test_a_list_of_the_same_items_leaves_the_flags_text(flag: str, key: str, text: str) -> None:
    asked = settings("--network=blue", f"--{flag}={text}", **{key: f" {text} ,"})
    named = getattr(asked, key)
    assert (named.path, named.is_trusted) == (text, True)


def test_ports_that_a_flag_says_stay_the_administrators() -> None:
    assert settings("--network=blue", "--ports=80:80,22:22", ports="80:80, 22:22").ports
    assert settings("--network=blue", "--mac=02:00:00:00:00:01", mac="02:00:00:00:00:01,").macs


def test_a_refused_network_is_not_detached_from() -> None:
    refused = {"org.shibafu.network": "green"}
    assert parse_networks(parse_flags(["--network=blue"]), refused) == ["blue"]
    assert parse_networks(parse_flags(["--network=blue", "--allow=network"]), refused) == ["green"]


@pytest.mark.parametrize("flag", ["--allow=nets", "--allow=conf-dir", "--allow="])
def test_only_annotations_are_allowed(flag: str) -> None:
    with pytest.raises(CniError, match="is not an annotation"):
        parse_flags([flag])


def test_places() -> None:
    flags = parse_flags(["--conf-dir=/c", "--cache-dir", "/r", "--cni-path=/p:/q"])
    assert (flags.conf_dir, flags.cache_dir, flags.cni_path({"CNI_PATH": "/e"})) == ("/c", "/r", "/p:/q")
    flags = parse_flags([])
    assert (flags.conf_dir, flags.cache_dir) == ("/etc/cni/net.d", "/var/lib/cni/results")
    assert flags.cni_path({"CNI_PATH": "/e"}) == "/e"
    assert flags.cni_path({}) == "/opt/cni/bin:/usr/lib/cni"
    assert "/usr/sbin" in flags.plugin_env({})["PATH"]
    assert flags.plugin_env({"PATH": "/p", "A": "1"}) == {"PATH": "/p", "A": "1"}


@pytest.mark.parametrize("flag", ["network", "--nets=x", "-n", "--", "--ip"])
def test_other_flags_are_refused(flag: str) -> None:
    with pytest.raises(CniError, match=r"unknown flag|needs a value"):
        parse_flags([flag])


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({}, "no network is specified"),
        ({"network": " , "}, "no network is specified"),
        ({"network": "a", "networks": "b"}, 'unknown annotation "org.shibafu.networks"'),
        ({"network": "a,b,a"}, "names a network twice"),
        ({"network": "a", "ip": "10.0.0.300"}, "invalid IP address"),
        ({"network": "a", "ip": "10.0.0.3/33"}, "invalid CIDR address"),
        ({"network": "a", "ip__b": "10.0.0.3"}, '"org.shibafu.ip.b" is for a network that'),
        ({"network": "../a"}, "not the name of a network"),
        ({"network": "a\nb"}, "not the name of a network"),
        ({"network": "a", "mac": "02:00:00:00:00:01;IP=10.0.0.9;K8S_POD_NAMESPACE=x"}, "invalid MAC address"),
        ({"network": "a", "mac": "02:00:00:00:00:01\n;"}, "invalid MAC address"),
        ({"network": "a", "mac": "02::1"}, "invalid MAC address"),
        ({"network": "a", "mac": "01:00:00:00:00:01"}, "not a unicast MAC address"),
        ({"network": "a", "ip": "10.0.0.3;MAC=x"}, "invalid IP address"),
        ({"network": "a", "ip": "10.0.0.3\0"}, "invalid IP address"),
        ({"network": "a", "ports": "80:80," * 10000}, "longer than 16384 characters"),
        ({"network": "a", "ports": "80"}, '"80" is not a published port'),
        ({"network": "a", "ports": ":80"}, "not a published port"),
        ({"network": "a", "ports": "0-1:80-81"}, "not a published port"),
        ({"network": "a", "ports": "8000-8010:80"}, "not a published port"),
        ({"network": "a", "ports": "8010-8000:90-80"}, "not a published port"),
        ({"network": "a", "ports": "65530-65540:80-90"}, "not a published port"),
        ({"network": "a", "ports": "80:65536"}, "not a published port"),
        ({"network": "a", "ports": "80:80/icmp"}, "not a published port"),
        ({"network": "a", "ports": "localhost:80:80"}, "not a published port"),
        ({"network": "a", "bandwidth": "10M"}, '"10M" is not a limit'),
        ({"network": "a", "bandwidth": "ingress=fast"}, "is not a limit"),
        ({"network": "a", "bandwidth": "egress=1M:0"}, "is not a limit"),
    ],
)
def test_refusals(annotations: dict[str, str], message: str) -> None:
    with pytest.raises(CniError, match=message):
        settings(**annotations)


def test_detaching_reads_the_networks_only() -> None:
    annotations = {"org.shibafu.network": "a,b", "org.shibafu.ports": "nonsense", "org.shibafu.x": ""}
    assert parse_networks(parse_flags([]), annotations) == ["a", "b"]
    assert parse_networks(parse_flags(["--network=c"]), {}) == ["c"]
    assert parse_networks(parse_flags([]), {}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}),
        ("0:80", {"hostPort": 0, "containerPort": 80, "protocol": "tcp"}),
        ("8000-8010:80-90", {"hostPort": 8000, "containerPort": 80, "protocol": "tcp", "range": 11}),
        ("53:53/UDP", {"hostPort": 53, "containerPort": 53, "protocol": "udp"}),
        ("127.0.0.1:1:2", {"hostPort": 1, "containerPort": 2, "protocol": "tcp", "hostIP": "127.0.0.1"}),
        ("[::1]:1:2/sctp", {"hostPort": 1, "containerPort": 2, "protocol": "sctp", "hostIP": "::1"}),
    ],
)
def test_ports(text: str, expected: Mapping[str, object]) -> None:
    assert settings(network="a", ports=f"{text},").ports == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ingress=10M", {"ingressRate": 10_000_000, "ingressBurst": 8 << 16}),
        ("ingress=1G", {"ingressRate": 10**9, "ingressBurst": 50_000_000}),
        ("egress=1g:5k", {"egressRate": 10**9, "egressBurst": 5000}),
        ("egress=100G", {"egressRate": 10**11, "egressBurst": 2**32 - 1}),
        ("ingress=5:8, egress=6:7", {"ingressRate": 5, "ingressBurst": 8, "egressRate": 6, "egressBurst": 7}),
    ],
)
def test_bandwidth(text: str, expected: Mapping[str, int]) -> None:
    assert settings(network="a", bandwidth=text).bandwidth == expected


def test_what_policies_find_a_container_by() -> None:
    asked = settings(
        "--labels.tier=front",
        network="a",
        namespace="prod",
        labels__app="web",
        named_ports="http=80, dns=53/udp",
    )
    identity = find_pod_identity({}, join_args(asked.policy_args))
    assert identity.namespace == "prod"
    assert identity.labels == {"io.kubernetes.pod.namespace": "prod", "app": "web", "tier": "front"}
    assert identity.ports == [("http", "TCP", 80), ("dns", "UDP", 53)]
    assert settings(network="a").policy_args == {}


@pytest.mark.parametrize(
    "stated",
    [
        {"labels__": "web"},
        {"labels__a:b": "web"},
        {"labels__app": "web,tier:front"},
        {"labels__app": "!web"},
        {"labels__app": "web;IgnoreUnknown=0"},
        {"namespace": "a;b"},
        {"named_ports": "80"},
        {"named_ports": "http=80/icmp"},
        {"named_ports": "a:b=80"},
    ],
)
def test_what_would_be_another_label_is_refused(stated: dict[str, str]) -> None:
    with pytest.raises(CniError, match=r"policies can have|is not a port with a name"):
        settings(network="a", **stated)


def test_the_sample_is_for_a_sample_network() -> None:
    assert [path.name for path in (CONF / "hooks").iterdir()] == ["config.json"]
    assert "hooks/config.json" in (CONF / "README.md").read_text()
    config = json.loads((CONF / "hooks" / "config.json").read_text())
    asked = parse_settings(parse_flags([]), config["annotations"])
    assert set(asked.networks) <= {load_conflist(str(path)).name for path in CONF.glob("*.conflist")}
    assert config["hooks"]["createRuntime"] == config["hooks"]["poststop"]
