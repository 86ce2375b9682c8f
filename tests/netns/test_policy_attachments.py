"""Policies and what shibafu-bridge attaches: before its first packet, while it runs, and after it is gone."""

import os
import resource
import select
import socket
import time
from json import loads

import pytest
import yaml

from netns.policy_cases import match, pods, policy
from netns.policy_crowd import make_crowd_policies
from netns.policy_machine import (
    DB_FROM_WEB,
    SUBNETS,
    TABLE,
    LabelledContainers,
    add_stray_rules,
    apply,
    knocking,
    labelled,
)
from netns.walled import close_host
from shibafu.cni.config import Section
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.model import PolicySet
from shibafu.policy.policy_documents import parse_policies
from shibafu.policy.stated_policies import calc_stated_policies
from support.machine import POLICIES
from support.namespaces import Namespace


def test_containers_that_run(cluster: LabelledContainers) -> None:
    cluster.attach("db", "web", "other")
    assert cluster.reaches("other", "db") == [True, True]
    apply(cluster.machine, DB_FROM_WEB)
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]
    assert cluster.reaches("db", "other") == [True, True]
    for name in ("db", "web", "other"):
        cluster.check(name)


def test_containers_that_come(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("other", "db", "web")
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]
    for name in ("db", "web", "other"):
        cluster.check(name)


def test_annotations_are_labels_where_they_are_declared(cluster: LabelledContainers) -> None:
    """Policies that come later find them in the record."""
    machine = cluster.machine
    cluster.attach("web", "other")
    annotations = {"org.shibafu.labels.app": "db", "secret": "?"}
    config = cluster.config | {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}
    result = machine.add(config, "db")
    cluster.addresses["db"] = [ip["address"].partition("/")[0] for ip in result["ips"]]
    apply(machine, DB_FROM_WEB)
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]
    machine.check(config, "db")
    records = [path.read_text() for path in machine.records.rglob("veth*")]
    assert [("org.shibafu.labels.app" in one, "secret" in one) for one in records].count((True, False)) == 1
    assert not any("secret" in one for one in records)
    machine.delete(config, "db")


def test_containers_that_go(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    empty = cluster.list_table()
    cluster.attach("db", "web")
    assert cluster.list_table() != empty
    cluster.delete("web")
    cluster.attach("other")  # it has another address: that of `web` is not given out again so soon
    assert cluster.addresses["web"][0] not in cluster.list_table()
    cluster.delete("db")
    assert cluster.list_table() == empty


def test_two_of_a_kind_share_a_chain(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db", "web", "other")
    second = cluster.machine.add(labelled(cluster.config, app="db"), "second")
    cluster.addresses["second"] = [ip["address"].partition("/")[0] for ip in second["ips"]]
    assert cluster.list_table().count("chain in-") == 1
    cluster.delete("db")
    assert cluster.reaches("other", "second") == [False, False]
    assert cluster.reaches("web", "second") == [True, True]


@pytest.mark.parametrize("has_policy", [True, False])
def test_nothing_arrives_before_the_policies_do(cluster: LabelledContainers, has_policy: bool) -> None:
    """One that waits for a container to appear is not let in for a moment."""
    machine, mac = cluster.machine, "02:00:00:00:00:01"
    apply(machine, *([DB_FROM_WEB] if has_policy else []))
    cluster.attach("other", "web")
    # The addresses are given out one after the other.
    before, _, number = cluster.addresses["web"][0].rpartition(".")
    wanted = f"{before}.{int(number) + 1}"
    machine.container("other").run("ip", "neigh", "add", wanted, "lladdr", mac, "dev", "eth0")
    with machine.container("db").enter():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("", 5000))
    with knocking(machine.container("other"), wanted):
        cluster.attach("db", CNI_ARGS=f"IgnoreUnknown=1;MAC={mac}")
        time.sleep(0.05)
    assert cluster.addresses["db"][0] == wanted
    with listener:
        assert bool(select.select([listener], [], [], 0)[0]) == (not has_policy)
    assert cluster.reaches("web", "db") == [True, True]


def test_an_attachment_restores_a_table_that_was_removed(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db", "other")
    cluster.machine.host.run("nft", "flush", "ruleset")
    cluster.attach("web")
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]


def test_no_policy_leaves_nothing(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    before = machine.snapshot()
    cluster.attach("db", "other")
    apply(machine, DB_FROM_WEB)
    assert machine.tables() == {f"table {TABLE}", "table bridge shibafu_policy"}
    apply(machine)
    assert cluster.reaches("other", "db") == [True, True]
    for name in ("db", "other"):
        cluster.check(name)
        cluster.delete(name)
    assert machine.tables() == set()
    assert machine.snapshot()["records"] == before["records"]


@pytest.mark.parametrize("ip_masq", [True, False], ids=["masq", "plain"])
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_a_host_without_policies_pays_for_one_look(
    cluster: LabelledContainers, command: str, ip_masq: bool
) -> None:
    cluster.config["ipMasq"] = ip_masq
    if command != "ADD":
        cluster.attach("db")
    # Other tests' hosts may have policies meanwhile.
    looks = _list_looks(cluster, command, "mount -t tmpfs tmpfs /var/lib")
    assert [one for one in looks if "ENOENT" not in one or '"/var/lib/shibafu/policy"' not in one] == []
    assert len(looks) == 1


@pytest.mark.parametrize("ip_masq", [True, False], ids=["masq", "plain"])
def test_a_host_with_policies_reads_them_once_in_a_call(cluster: LabelledContainers, ip_masq: bool) -> None:
    cluster.config["ipMasq"] = ip_masq
    cluster.config |= {"policies": [DB_FROM_WEB]}
    digest = calc_stated_policies(Section(cluster.config, "NetConf"))
    with cluster.machine.host.enter():
        policies = parse_policies(yaml.safe_dump(DB_FROM_WEB), "db")
        compiled = compile_policies(policies)
        compiled.stated = [digest]
        enforce(compiled, HostPolicies(), os.environ)
    cluster.attach("web")
    for command in ("ADD", "CHECK", "DEL"):
        looks = _list_looks(cluster, command, "true")
        assert len([one for one in looks if "openat(" in one and ".json" in one]) == 1, looks


def _list_looks(cluster: LabelledContainers, command: str, preparation: str) -> list[str]:
    """Return the system calls of a call of the plugin for container db that name files of policies.

    Args:
        cluster: the containers.
        command: the verb.
        preparation: what a shell does before, which sees a file system of its own.
    """
    machine = cluster.machine
    if machine.suite.has_engine:
        pytest.skip("another process than the traced one does the call")
    report = machine.directory / "strace"
    strace = ["/usr/bin/strace", "--follow-forks", "--trace=%file", f"--output={report}"]
    machine.prefix = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", f'{preparation} && exec "$@"', "sh"]
    machine.prefix += strace
    config = labelled(cluster.config, app="db")
    if command == "ADD":
        machine.add(config, "db")
    else:
        assert machine.call(command, config, "db").status == 0
    machine.prefix = []
    places = '"/var/lib/shibafu/policy', '"/run/shibafu/policy'
    return [line for line in report.read_text().splitlines() if any(place in line for place in places)]


def test_gc_takes_elements_away(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("web", "db")
    cluster.machine.collect_garbage(cluster.config, ("web", "eth0"))
    listed = cluster.list_table()
    assert cluster.addresses["db"][0] not in listed
    assert cluster.addresses["web"][0] in listed


def test_gc_takes_away_what_belongs_to_nobody(cluster: LabelledContainers) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("web", "db")
    before = cluster.list_table()
    add_stray_rules(cluster.machine)
    assert cluster.list_table() != before
    cluster.machine.collect_garbage(cluster.config, ("web", "eth0"), ("db", "eth0"))
    assert cluster.list_table() == before
    assert cluster.reaches("web", "db") == [True, True]


@pytest.mark.parametrize("is_on_before", [False, True])
def test_bridges_are_as_they_were_once_there_are_no_policies(
    cluster: LabelledContainers, is_on_before: bool
) -> None:
    machine = cluster.machine

    def read_switches() -> list[int]:
        (link,) = loads(machine.host.run("ip", "-j", "-d", "link", "show", "br0"))
        data = link["linkinfo"]["info_data"]
        return [data["nf_call_iptables"], data["nf_call_ip6tables"]]

    cluster.attach("web")
    if is_on_before:
        switches = ("nf_call_iptables", "1", "nf_call_ip6tables", "1")
        machine.host.run("ip", "link", "set", "br0", "type", "bridge", *switches)
    assert read_switches() == [is_on_before] * 2
    apply(machine, DB_FROM_WEB)
    cluster.attach("db")
    assert read_switches() == [1, 1]
    apply(machine)
    assert read_switches() == [is_on_before] * 2


def test_status_wants_nft(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    config = machine.config(ipMasq=None)
    assert machine.call("STATUS", config).status == 0
    apply(machine, DB_FROM_WEB)
    machine.hide("mount -t tmpfs none /usr/sbin")
    error = machine.fail(config, command="STATUS")
    assert (error["code"], "nft" in error["msg"]) == (50, True)
    machine.prefix = []


def test_malformed_labels_are_refused(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    config = cluster.config | {"args": {"cni": {"labels": [{"key": "app", "value": 1}]}}}
    machine.add(config)
    apply(machine, DB_FROM_WEB)
    assert machine.fail(config, "c2")["code"] == 7
    machine.delete(config)


def test_policies_of_another_namespace_are_forgotten(cluster: LabelledContainers) -> None:
    """Numbers of namespaces are given out again."""
    machine = cluster.machine
    apply(machine, DB_FROM_WEB)
    (written,) = POLICIES.glob(f"{machine.records.name}.*")
    inode, cookie, boot, _ = written.name.split(".")
    written.rename(former := written.with_name(f"{inode}.9{cookie}.{boot}.json"))
    cluster.attach("db", "other")
    assert cluster.reaches("other", "db") == [True, True]
    former.rename(of_former_boot := written.with_name(f"{inode}.{cookie}.9{boot[1:]}.json"))
    apply(machine, DB_FROM_WEB)
    assert cluster.reaches("other", "db") == [False, False]
    assert not of_former_boot.exists()


@pytest.mark.parametrize("version", [4, 6])
def test_ports_do_not_admit_ping(cluster: LabelledContainers, version: int) -> None:
    """A rule without ports is for all protocols, one with ports for these alone."""

    def pings(client: Namespace) -> bool:
        address = cluster.addresses["db"][version == 6]
        try:
            client.run("ping", "-qn", "-c", "1", "-W", "1", address)
        except AssertionError:
            return False
        return True

    cluster.attach("db", "web")
    web, host = cluster.machine.container("web"), cluster.machine.host
    apply(cluster.machine, DB_FROM_WEB)
    assert pings(web)
    ports = [{"from": [pods({})], "ports": [{"port": 80}, {"protocol": "UDP"}]}]
    apply(cluster.machine, policy(ports, target=match(app="db"), namespace="default"))
    assert not pings(web)
    assert cluster.reaches("web", "db") == [True, True]
    assert pings(host)


def test_neighbours_are_found_whatever_is_denied(cluster: LabelledContainers) -> None:
    """What a container connects to is another matter than how it is found."""
    apply(
        cluster.machine,
        policy([], [{"ports": [{"protocol": "UDP"}]}], target=match(app="db"), namespace="default"),
    )
    cluster.attach("db", "web")
    for name in ("db", "web"):
        cluster.machine.container(name).run("ip", "neigh", "flush", "dev", "eth0")
    assert cluster.reaches("db", "web") == [True, True]
    assert cluster.reaches("web", "db") == [False, False]


@pytest.mark.parametrize("has_masquerading", [True, False])
def test_a_host_that_drops_lets_neighbours_through(
    cluster: LabelledContainers, has_masquerading: bool
) -> None:
    """FORWARD sees what the bridge forwards as soon as a policy is for one of its containers."""
    machine = cluster.machine
    machine.hide("mount -t sysfs sysfs /sys")
    close_host(machine)
    cluster.config = machine.config(*SUBNETS, ipMasq=has_masquerading)
    apply(machine, DB_FROM_WEB)
    cluster.attach("web", "other", "db")
    assert cluster.reaches("web", "db") == [True, True]
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("db", "other") == [True, True]
    for name in ("db", "web", "other"):
        cluster.check(name)
    machine.prefix = []


@pytest.mark.long
def test_a_thousand_policies_cost_a_container_little(cluster: LabelledContainers) -> None:
    """Seconds of the processor are compared, with those of programs that are started: others use it, too."""

    def read() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def measure() -> tuple[float, float]:
        spans = []
        for _ in range(6):
            start = read()
            cluster.attach("db")
            middle = read()
            cluster.delete("db")
            spans.append((middle - start, read() - middle))
        return min(came for came, _ in spans), min(gone for _, gone in spans)

    machine = cluster.machine
    cluster.attach("web")
    came, gone = measure()
    with machine.host.enter():
        many = PolicySet(
            (
                *parse_policies(yaml.safe_dump(DB_FROM_WEB), "db.yaml").policies,
                *make_crowd_policies(1000).policies,
            )
        )
        enforce(compile_policies(many), HostPolicies(), os.environ)
    came_with, gone_with = measure()
    assert (came_with - came < 0.06, gone_with - gone < 0.06) == (True, True), (
        came,
        came_with,
        gone,
        gone_with,
    )
