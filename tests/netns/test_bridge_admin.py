"""SHIBAFU-ADMIN: the administrator's rules come before those of all networks, and are left alone."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shibafu.cni.names import calc_chain
from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, can_reach, open_socket

FAMILIES = {4: "iptables", 6: "ip6tables"}
# Addresses of the first container of each network.
BLUE, GREEN = ({4: f"10.{n}.0.2", 6: f"fd00:{n}::2"} for n in (10, 20))

families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(params=["nft", "legacy"])
def machine(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host whose iptables is of one variant."""
    with Namespace("host") as host:
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        made = Machine(suite, host, tmp_path, link_iptables(tmp_path / "bin", request.param))
        yield made
        made.close()


def network(machine: Machine, name: str, number: int, **keys: object) -> Config:
    subnets = f"10.{number}.0.0/24", f"fd00:{number}::/64"
    return machine.config(*subnets, **{"name": name, "bridge": f"br{number}"} | keys)


@pytest.fixture
def blue(machine: Machine) -> Config:
    return network(machine, "blue", 10)


@pytest.fixture
def green(machine: Machine) -> Config:
    return network(machine, "green", 20)


def reaches(outside: Outside, container: Namespace, version: int) -> bool:
    return can_reach(outside.namespace, OUTSIDE[version], container)


def admin_rules(machine: Machine) -> list[str]:
    return [rule for rule in machine.rules() if " -A SHIBAFU-ADMIN " in rule]


@families
def test_a_drop_holds_for_all_networks(
    machine: Machine, blue: Config, green: Config, outside: Outside, version: int
) -> None:
    """For what their containers send, beyond the host and to each other, and for what they are sent."""
    machine.add(blue, "c1")
    machine.add(green, "c2")
    first, second = machine.container("c1"), machine.container("c2")
    assert reaches(outside, first, version)
    assert reaches(outside, second, version)
    assert can_reach(second, GREEN[version], first)
    machine.iptables(f"-A SHIBAFU-ADMIN -s {BLUE[version]} -j DROP", family=FAMILIES[version])
    assert not reaches(outside, first, version)
    assert not can_reach(second, GREEN[version], first)
    assert reaches(outside, second, version)
    machine.iptables("-F SHIBAFU-ADMIN", family=FAMILIES[version])
    machine.iptables(f"-A SHIBAFU-ADMIN -d {GREEN[version]} -j DROP", family=FAMILIES[version])
    assert not can_reach(second, GREEN[version], first)
    assert reaches(outside, first, version)


@families
@pytest.mark.parametrize("opened_by", ["the container", "others"])
@pytest.mark.parametrize("direction", ["sent", "received"])
def test_a_drop_holds_for_connections_that_are_there(
    machine: Machine, blue: Config, outside: Outside, version: int, opened_by: str, direction: str
) -> None:
    """They go another way through FORWARD than what opens them."""
    machine.add(blue, "c1")
    container = machine.container("c1")
    family = FAMILIES[version]
    target = f"[{BLUE[version]}]:80" if version == 6 else f"{BLUE[version]}:80"
    machine.iptables("-P FORWARD DROP", family=family)
    machine.iptables(
        f"-t nat -A PREROUTING -d {UPLINK[version]} -p tcp -j DNAT --to-destination {target}", family=family
    )
    ends = [(container, BLUE[version]), (outside.namespace, OUTSIDE[version])]
    (client, _), (server, address) = ends if opened_by == "the container" else ends[::-1]
    with (
        open_socket(server, version, socket.SOCK_STREAM) as listener,
        open_socket(client, version, socket.SOCK_STREAM) as near,
    ):
        listener.bind((address, 80))
        listener.listen()
        near.connect((UPLINK[version] if opened_by == "others" else address, 80))
        far, _ = listener.accept()
        mine, others = (near, far) if opened_by == "the container" else (far, near)
        with far:
            for sender, receiver in ((near, far), (far, near)):
                sender.sendall(b"ping")
                assert receiver.recv(4) == b"ping"
            link = {"sent": "-i br10", "received": "-o br10"}[direction]
            machine.iptables(f"-A SHIBAFU-ADMIN {link} -j DROP", family=family)
            sender, receiver = (mine, others) if direction == "sent" else (others, mine)
            receiver.settimeout(0.3)
            sender.sendall(b"pong")
            with pytest.raises(TimeoutError):
                receiver.recv(4)
            machine.iptables("-F SHIBAFU-ADMIN", family=family)
            receiver.settimeout(10)
            assert receiver.recv(4) == b"pong"


@families
def test_rules_are_never_touched(machine: Machine, blue: Config, green: Config, version: int) -> None:
    """Neither by further networks and containers, nor when rules are made again or removed."""
    family = FAMILIES[version]
    machine.add(blue, "c1")
    machine.iptables("-A SHIBAFU-ADMIN -i br10 -j DROP", family=family)
    rules = admin_rules(machine)
    assert len(rules) == 1
    machine.add(green, "c2")
    machine.iptables("-F FORWARD", family=family)
    assert machine.fail(blue, "c1", command="CHECK")["code"] == 104
    machine.add(blue, "c3")
    machine.check(blue, "c1")
    assert admin_rules(machine) == rules
    assert not can_reach(machine.container("c2"), GREEN[version], machine.container("c1"))
    for config, container in ((blue, "c1"), (blue, "c3"), (green, "c2")):
        machine.delete(config, container)
    assert machine.rules() == [f"{family} :SHIBAFU-ADMIN -", *rules]
    # It is there for the next one.
    machine.add(blue, "c1")
    result = machine.add(green, "c2")
    address = next(ip["address"] for ip in result["ips"] if (":" in ip["address"]) == (version == 6))
    assert admin_rules(machine) == rules
    assert not can_reach(machine.container("c2"), address.split("/")[0], machine.container("c1"))
    machine.iptables("-F SHIBAFU-ADMIN", family=family)
    machine.delete(green, "c2")
    machine.delete(blue, "c1")
    assert_no_rules(machine)


@pytest.mark.parametrize("name", ["blue", "green"])
@pytest.mark.parametrize("place", ["FORWARD", "SHIBAFU-"])
def test_it_is_missed_and_made_again(
    machine: Machine, blue: Config, green: Config, name: str, place: str
) -> None:
    """Both for what belongs to a connection of the containers', and for all else."""
    machine.add(blue, "c1")
    machine.add(green, "c2")
    rules = sorted(machine.rules())
    chain = calc_chain(name) if place == "SHIBAFU-" else place
    subnet = {"blue": "10.10.0.0/24", "green": "10.20.0.0/24"}[name] if place == "FORWARD" else ""
    beginning, end = f"iptables -A {chain} ", f"{subnet} -j SHIBAFU-ADMIN"
    jump = next(rule for rule in rules if rule.startswith(beginning) and rule.endswith(end))
    machine.iptables(jump.replace("iptables -A", "-D"))
    config, container = {"blue": (blue, "c1"), "green": (green, "c2")}[name]
    assert "are missing" in machine.fail(config, container, command="CHECK")["msg"]
    machine.add(config, "c3")
    assert sorted(machine.rules()) == rules


@pytest.mark.parametrize("made_by", ["administrator", "nobody"])
def test_many_networks_come_and_go_at_once(machine: Machine, made_by: str) -> None:
    """Each makes the chain if it is missing; the last one takes it along, as long as nobody wrote into it."""
    if made_by == "administrator":
        machine.iptables("-N SHIBAFU-ADMIN")
    configs = {f"c{n}": network(machine, f"net{n}", n) for n in range(10, 16)}
    for name in configs:
        machine.container(name)
    calls = [machine.start("ADD", config, name) for name, config in configs.items()]
    assert [answer for call in calls if (answer := call.finish()).status] == []
    assert len([rule for rule in machine.rules() if "-j SHIBAFU-ADMIN" in rule]) == 4 * len(configs)
    calls = [machine.start("DEL", config, name) for name, config in configs.items()]
    assert [answer for call in calls if (answer := call.finish()).status] == []
    # Those that went together left it to each other.
    assert set(machine.rules()) <= {f"{family} :SHIBAFU-ADMIN -" for family in FAMILIES.values()}
    assert machine.remembered() == set()
    machine.add(configs["c10"], "c10")
    machine.delete(configs["c10"], "c10")
    assert_no_rules(machine)


def test_it_goes_with_the_last_network_of_each_family(machine: Machine) -> None:
    both = machine.config("10.10.0.0/24", "fd00:10::/64")
    ipv4 = machine.config("10.20.0.0/24", name="other", bridge="br1")
    for first, second in ((both, ipv4), (ipv4, both)):
        machine.add(first)
        machine.add(second, ifname="eth1")
        machine.delete(first)
        machine.check(second, ifname="eth1")
        machine.delete(second, ifname="eth1")
        assert machine.rules() == []
