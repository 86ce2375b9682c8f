"""What FORWARD accepts for a network does not overtake what other programs drop there."""

import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from json import dumps
from pathlib import Path

import pytest

from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source, can_reach
from support.waiting import wait_for

TCP = socket.SOCK_STREAM
FIREWALL = "/usr/lib/cni/firewall"  # Debian's containernetworking-plugins
FAMILIES = {4: "iptables", 6: "ip6tables"}
# Addresses of the first container of each network.
BLUE, GREEN = ({4: f"10.{n}.0.2", 6: f"fd00:{n}::2"} for n in (10, 20))

needs_firewall = pytest.mark.skipif(
    not os.path.exists(FIREWALL), reason="the reference plugins are not installed"
)
policies = pytest.mark.parametrize("policy", ["same-bridge", "isolated"])


@pytest.fixture(params=["nft", "legacy"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant."""
    with Namespace("host") as host:
        # A bridge asks for others' IPv6 neighbours as soon as its own address is known to be nobody else's.
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, link_iptables(tmp_path / "bin", request.param))
        yield made
        made.close()


@pytest.fixture
def blue(machine: Machine) -> Config:
    return machine.config("10.10.0.0/24", "fd00:10::/64", name="blue", bridge="br10", cniVersion="1.0.0")


@pytest.fixture
def green(machine: Machine) -> Config:
    return machine.config("10.20.0.0/24", "fd00:20::/64", name="green", bridge="br20", cniVersion="1.0.0")


def protect(machine: Machine, config: Config, container: str, result: Config, policy: str) -> None:
    """Have the reference's firewall plugin do its part, as the next one of the chain."""
    keys = ("name", "cniVersion")
    document = {key: config[key] for key in keys} | {"type": "firewall", "ingressPolicy": policy}
    done = subprocess.run(
        ["nsenter", f"--net={machine.host.path}", FIREWALL],
        env={
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": machine.container(container).path,
            "CNI_PATH": os.path.dirname(FIREWALL),
            "PATH": machine.path,
        },
        input=dumps(document | {"prevResult": result}).encode(),
        check=False,
        stdout=subprocess.PIPE,
    )
    if b"unknown ingress policy" in done.stdout:
        pytest.skip(f"this release of the reference plugin has no {policy}")
    assert done.returncode == 0, done.stdout


def add(machine: Machine, config: Config, container: str, policy: str) -> Namespace:
    """Attach a container by the chain of both plugins."""
    protect(machine, config, container, machine.add(config, container), policy)
    return machine.container(container)


def reached(first: Namespace, second: Namespace) -> list[bool]:
    """Return which of four ways are open: from blue to green and back, over IPv4 and IPv6."""
    ways = [
        (server, addresses[version], client)
        for version in (4, 6)
        for server, addresses, client in ((second, GREEN, first), (first, BLUE, second))
    ]
    # All at once: each waits for what is not to come.
    with ThreadPoolExecutor(len(ways)) as pool:
        return list(pool.map(can_reach, *zip(*ways, strict=True)))


def reaches_out(outside: Outside, container: Namespace) -> bool:
    """Return whether connections are answered, whatever they have to wait for at first."""
    sources = [ask_source(outside.namespace, OUTSIDE[version], container, TCP) for version in (4, 6)]
    return sources == [UPLINK[4], UPLINK[6]]


@needs_firewall
@policies
def test_the_firewall_plugin_keeps_networks_apart(
    machine: Machine, blue: Config, green: Config, policy: str, outside: Outside
) -> None:
    first = add(machine, blue, "c1", policy)
    second = add(machine, green, "c2", policy)
    assert reached(first, second) == [False] * 4
    add(machine, blue, "c3", policy)
    add(machine, green, "c4", policy)
    assert reached(first, second) == [False] * 4
    for family in FAMILIES.values():
        machine.iptables("-P FORWARD DROP", family=family)
    assert reaches_out(outside, first)
    assert reaches_out(outside, second)
    for config, container in ((blue, "c1"), (green, "c2")):
        machine.check(config, container)


@needs_firewall
@policies
def test_the_firewall_plugin_comes_later(machine: Machine, blue: Config, green: Config, policy: str) -> None:
    """Both networks are there when it first makes its chains."""
    results = {name: machine.add(config, name) for name, config in (("c1", blue), ("c2", green))}
    first, second = machine.container("c1"), machine.container("c2")
    # On a busy machine an answer may be late.
    wait_for(lambda: reached(first, second) == [True] * 4)
    protect(machine, green, "c2", results["c2"], policy)
    protect(machine, blue, "c1", results["c1"], policy)
    assert reached(first, second) == [False] * 4
    machine.check(blue, "c1")


@needs_firewall
@policies
@pytest.mark.parametrize("by", ["another ADD", "a flush"])
def test_an_order_that_is_wrong_is_noticed_and_mended(
    machine: Machine, blue: Config, green: Config, policy: str, by: str
) -> None:
    """An older release put its jumps first."""
    first, second = add(machine, blue, "c1", policy), add(machine, green, "c2", policy)
    for rule in machine.rules():
        family, _, jump = rule.partition(" -A FORWARD ")
        if "SHIBAFU-" in jump:
            machine.iptables(f"-D FORWARD {jump}", family=family)
            machine.iptables(f"-I FORWARD {jump}", family=family)
    # On a busy machine an answer may be late.
    wait_for(lambda: reached(first, second) == [True] * 4)
    message = "firewall rules of network blue come before those of chain CNI-ISOLATION-STAGE-1"
    assert machine.fail(blue, "c1", command="CHECK")["msg"] == message
    if by == "a flush":
        for family in FAMILIES.values():
            machine.iptables("-t nat -F", family=family)
    for config, container in ((blue, "c3"), (green, "c4")):
        machine.add(config, container)
    assert reached(first, second) == [False] * 4
    machine.check(blue, "c1")
    machine.check(green, "c2")


@pytest.mark.parametrize("chain", ["DOCKER-USER", pytest.param("CNI-FORWARD", marks=pytest.mark.long)])
@pytest.mark.parametrize("when", ["before", "repaired"])
def test_an_administrators_drop_holds(
    machine: Machine, blue: Config, outside: Outside, chain: str, when: str
) -> None:
    """Beside a firewall whose last rule rejects all that nobody accepted, as that of ufw does."""
    for family in FAMILIES.values():
        machine.iptables(f"-N {chain}", family=family)
        machine.iptables(f"-A {chain} -p udp --dport 9 -i br10 -j DROP", family=family)
        machine.iptables(f"-A FORWARD -j {chain}", family=family)
        machine.iptables("-A FORWARD -j REJECT", family=family)
    machine.add(blue, "c1")
    if when == "repaired":
        for family in FAMILIES.values():
            machine.iptables("-D FORWARD 2", family=family)
        machine.add(blue, "c2")
    container = machine.container("c1")
    assert reaches_out(outside, container)
    for family in FAMILIES.values():
        machine.iptables(f"-I {chain} -p udp -i br10 -j DROP", family=family)
    assert not can_reach(outside.namespace, OUTSIDE[4], container)
    assert not can_reach(outside.namespace, OUTSIDE[6], container)
    machine.check(blue, "c1")
