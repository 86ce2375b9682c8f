"""Policies where the kernel lacks br_netfilter: what one bridge forwards is sent through the host.

Nobody who is called sees that there is br_netfilter, and bridges do not show netfilter what they forward.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from json import loads

import pytest
import yaml

from netns.policy_cases import match, policy
from netns.policy_machine import DB_FROM_WEB, SUBNETS, LabelledContainers, labelled
from netns.policy_machine import apply as apply_with_br_netfilter
from netns.policy_packets import Wire, hears, reaches_link_local
from netns.walled import close_host
from support.command import CommandLine
from support.machine import Machine
from support.namespaces import Namespace
from support.policy_evaluator import Document
from support.traffic import can_reach

HIDE = "mount -t tmpfs none /proc/sys/net/bridge"
TABLE = "table bridge shibafu_rerouted"
ADVICE = "load the kernel's module br_netfilter"
NO_EGRESS = policy([], [], match(app="db"), "default", name="egress", types=["Egress"])
_APPLY = """
import os, sys
from shibafu.cni.errors import CniError
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies

try:
    enforce(compile_policies(parse_policies(sys.stdin.read(), "policies.yaml")), HostPolicies(), os.environ)
except CniError as error:
    print(error.msg, error.details, sep="; ")
"""


def apply(machine: Machine, *policies: Document) -> str:
    """Enforce policies on the machine, in place of all others; return why it was refused."""
    command = [
        "/usr/bin/nsenter",
        f"--net={machine.host.path}",
        *machine.prefix,
        sys.executable,
        "-c",
        _APPLY,
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    text = yaml.safe_dump_all(policies)
    return subprocess.run(command, input=text, env=env, stdout=subprocess.PIPE, check=True, text=True).stdout


@pytest.fixture
def hidden(machine: Machine) -> None:
    """Hide br_netfilter; bridges also look for neighbours at once, whoever else may have their address."""
    machine.hide(HIDE)
    machine.host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")


@pytest.fixture
def cluster(machine: Machine, hidden: None) -> Iterator[LabelledContainers]:
    yield LabelledContainers(machine)
    apply(machine)


@pytest.fixture
def wire(machine: Machine, hidden: None) -> Iterator[Wire]:
    yield Wire(machine)
    apply(machine)


def count_hops(cluster: LabelledContainers, source: str, destination: str) -> list[int]:
    """Return how many routers a packet and its answer pass each, by family."""
    client = cluster.machine.container(source)
    answers = [client.run("ping", "-nc1", "-W5", one) for one in cluster.addresses[destination]]
    return [64 - int(answer.partition("ttl=")[2].split()[0]) for answer in answers]


@pytest.mark.parametrize(
    "is_first",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["policies first", "containers first"],
)
def test_policies_are_asked(cluster: LabelledContainers, is_first: bool) -> None:
    machine = cluster.machine
    if is_first:
        apply(machine, DB_FROM_WEB)
    cluster.attach("db", "web", "other")
    if not is_first:
        assert cluster.reaches("other", "db") == [True, True]
        apply(machine, DB_FROM_WEB)
    assert cluster.reaches("other", "db") == [False, False]
    for ends in (("web", "db"), ("db", "other"), ("web", "other"), ("other", "web")):
        assert cluster.reaches(*ends) == [True, True], ends
    assert can_reach(machine.container("db"), cluster.addresses["db"][0], machine.host)
    (link,) = loads(machine.host.run("ip", "-j", "-d", "link", "show", "br0"))
    assert not link["linkinfo"]["info_data"]["nf_call_iptables"]
    assert [count_hops(cluster, *ends) for ends in (("web", "db"), ("web", "other"))] == [[1, 1], [0, 0]]
    for name in ("db", "web", "other"):
        cluster.check(name)
    apply(machine)
    assert TABLE not in machine.tables()
    assert count_hops(cluster, "web", "db") == [0, 0]


def test_nothing_is_left_of_a_container(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    apply(machine, DB_FROM_WEB, NO_EGRESS)
    cluster.attach("db", "web")
    second = labelled(machine.config(*SUBNETS), app="db")
    machine.add(second, "second", CNI_ARGS="IgnoreUnknown=1;MAC=02:00:00:00:00:01")
    cluster.delete("db")
    assert machine.host.run("nft", "list", *TABLE.split()).count("elements") == 4
    machine.delete(second, "second")
    assert "elements" not in machine.host.run("nft", "list", *TABLE.split())


def test_who_is_not_routed_is_refused(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    cluster.config = machine.config(*SUBNETS, isDefaultGateway=None, ipMasq=None)
    cluster.attach("web", "other")
    assert ADVICE in apply(machine, policy([], target=match(app="web"), namespace="default"))
    assert machine.tables() == set()
    assert apply(machine, DB_FROM_WEB) == ""
    before = machine.links(machine.host)
    error = machine.fail(labelled(cluster.config, app="db"), "db")
    assert (error["code"], ADVICE in error["details"]) == (101, True)
    assert machine.links(machine.host).keys() == before.keys()
    assert cluster.reaches("other", "web") == [True, True]
    machine.host.run("ip", "addr", "add", "10.10.0.1/24", "dev", "br0")
    machine.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    cluster.config = machine.config("10.10.0.0/24", isDefaultGateway=None, ipMasq=None)
    cluster.attach("db")
    assert [cluster.reaches(name, "db") for name in ("web", "other")] == [[True], [False]]
    machine.host.run("ip", "addr", "del", "10.10.0.1/24", "dev", "br0")
    assert ADVICE in cluster.find_fault("db")


@pytest.mark.parametrize(
    "damage",
    [
        "nft delete table bridge shibafu_rerouted",
        "nft flush chain bridge shibafu_rerouted forward",
        "nft flush map bridge shibafu_rerouted receivers",
    ],
)
def test_check_sees_what_is_missing(cluster: LabelledContainers, damage: str) -> None:
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db")
    cluster.machine.host.run(*damage.split())
    assert "not sent through the host" in cluster.find_fault("db")


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [
        "nft flush ruleset",
        "nft flush map bridge shibafu_rerouted senders",
        "ip link set br-blue address 02:00:00:00:00:99",
        "ip link del br-blue",
    ],
)
def test_repair(
    shibafu: CommandLine, host: Namespace, web: Namespace, container: Namespace, damage: str
) -> None:
    def call(line: str, text: str = "") -> None:
        told = shibafu.start(*line.split(), prepare=HIDE).communicate(text, timeout=60)
        assert not told[1], told

    call("network create blue --subnet 10.66.0.0/24")
    call(f"network connect blue {container.name} --label app=db")
    call(f"network connect blue {web.name} --label app=other")
    call("policy apply -f -", yaml.safe_dump(DB_FROM_WEB))
    try:
        host.run(*damage.split())
        call("network repair")
        assert "nothing to repair" in shibafu.start("network", "repair", prepare=HIDE).communicate()[0]
        assert not can_reach(container, "10.66.0.2", web)
        assert can_reach(web, "10.66.0.3", container)
    finally:
        call("policy rm default/base")


@pytest.mark.long
def test_labels_are_refused_that_no_policy_can_go_by(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    """The host does not route by the bridge of an internal network."""

    def call(line: str, text: str = "") -> str:
        return shibafu.start(*line.split(), prepare=HIDE).communicate(text, timeout=60)[1]

    assert call("network create blue --subnet 10.66.0.0/24 --internal") == ""
    assert call(f"network connect blue {web.name} --label app=web") == ""
    assert call("policy apply -f -", yaml.safe_dump(DB_FROM_WEB)) == ""
    try:
        assert ADVICE in call(f"policy label {web.name} app=db")
        assert call(f"policy label {web.name} app=other") == ""
    finally:
        assert call("policy rm default/base") == ""


def test_br_netfilter_goes(cluster: LabelledContainers) -> None:
    machine = cluster.machine
    hiding, machine.prefix = machine.prefix, []
    apply_with_br_netfilter(machine, DB_FROM_WEB)
    cluster.attach("db", "other")
    cluster.check("db")
    off = ("nf_call_iptables", "0", "nf_call_ip6tables", "0")
    machine.host.run("ip", "link", "set", "br0", "type", "bridge", *off)
    machine.prefix = hiding
    assert "not sent through the host" in cluster.find_fault("db")
    assert cluster.reaches("other", "db") == [True, True]
    apply(machine, DB_FROM_WEB)
    cluster.check("db")
    assert cluster.reaches("other", "db") == [False, False]


@pytest.mark.parametrize("to", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:00:00:00:00:09"])
def test_no_hardware_address_leads_round_policies(wire: Wire, to: str) -> None:
    """Of the last one, the bridge does not know who has it: all get it, and one may listen to anything."""
    wire.attach("db", "other")
    if to.startswith("02"):
        wire.machine.container("db").run("ip", "link", "set", "eth0", "promisc", "on", "address", to)
    versions = (4,) if to.startswith("01") else (4, 6)
    assert all(wire.passes(("other", "db"), version, (), to=to) for version in versions)
    apply(wire.machine, policy([], target=match(app="db"), namespace="default"))
    assert not any(wire.passes(("other", "db"), version, (), to=to) for version in versions)


@pytest.mark.long
@pytest.mark.parametrize("address", ["255.255.255.255", "10.10.0.255", "224.0.0.1", "ff02::1"])
def test_who_may_not_send_does_not_send_to_many(cluster: LabelledContainers, address: str) -> None:
    cluster.attach("db", "web", "other")
    db, web, other = map(cluster.machine.container, ("db", "web", "other"))
    assert hears(db, other, address)
    apply(cluster.machine, NO_EGRESS)
    assert not hears(db, other, address)
    assert hears(web, other, address)


@pytest.mark.long
@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_link_local_addresses_are_no_way_round(cluster: LabelledContainers, direction: str) -> None:
    cluster.attach("db", "web", "other")
    db, web, other = map(cluster.machine.container, ("db", "web", "other"))
    ends = (other, db) if direction == "Ingress" else (db, other)
    assert reaches_link_local(*ends)
    apply(cluster.machine, policy([], [], match(app="db"), "default", types=[direction]))
    assert not reaches_link_local(*ends)
    assert reaches_link_local(web, other)
    assert reaches_link_local(cluster.machine.host, db, cluster.config["bridge"])


@pytest.mark.long
def test_a_request_of_dhcp_gets_out(cluster: LabelledContainers) -> None:
    """From no address, to all: by it a container asks for one."""
    apply(cluster.machine, NO_EGRESS)
    cluster.attach("db", "other")
    db, other = map(cluster.machine.container, ("db", "other"))
    db.run("ip", "addr", "flush", "dev", "eth0")
    db.run("ip", "route", "add", "default", "dev", "eth0")
    with other.enter():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with db.enter():
        talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener, talker:
        listener.settimeout(10)
        listener.bind(("", 67))
        talker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        talker.sendto(b"request", ("255.255.255.255", 67))
        assert listener.recv(16) == b"request"
        listener.settimeout(0.5)
        talker.sendto(b"other", ("255.255.255.255", 68))
        with suppress(TimeoutError):
            raise AssertionError(listener.recv(16))


@pytest.mark.long
@pytest.mark.parametrize(
    "keys",
    [
        {"ipMasq": None},
        {"ipMasqBackend": "nftables"},
        {"hairpinMode": True, "macspoofchk": True},
        {"isolate": "strict"},
        {"mtu": 1400, "promiscMode": True},
    ],
    ids=str,
)
def test_other_keys_of_networks(cluster: LabelledContainers, keys: dict[str, object]) -> None:
    machine = cluster.machine
    if "ipMasq" in keys:
        close_host(machine)
    apply(machine, DB_FROM_WEB)
    cluster.config = machine.config(*SUBNETS, **keys)
    cluster.attach("web", "other", "db")
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]
    assert cluster.reaches("db", "other") == [True, True]
    for name in ("db", "web", "other"):
        cluster.check(name)
