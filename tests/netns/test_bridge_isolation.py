"""`isolate`: isolated networks do not reach each other, and everything else goes on."""

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from json import loads
from pathlib import Path

import pytest

from netns.isolated import BLUE, GOLD, GREEN, OPEN_GROUP, PLAIN, Networks, are_apart, group
from shibafu.cni.names import (
    STRICT,
    calc_chain,
)
from support.machine import SYSTEM_PATH, Machine, link_iptables
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source, open_socket

TCP = socket.SOCK_STREAM
# Addresses of blue's gateway.
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
MISSING = "firewall rules of network blue are missing"

families = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(params=["nft", pytest.param("legacy", marks=pytest.mark.long), "nftables"])
def networks(suite: Suite, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Networks]:
    """The networks on a host whose iptables is of one variant, or by the other backend."""
    is_nftables = request.param == "nftables"
    path = SYSTEM_PATH if is_nftables else link_iptables(tmp_path / "bin", request.param)
    with Namespace("host") as host:
        # A bridge asks for others' IPv6 neighbours as soon as its own address is known to be nobody else's.
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        machine = Machine(suite, host, tmp_path, path)
        yield Networks(machine, "nftables" if is_nftables else "iptables")
        machine.close()


@pytest.fixture
def machine(networks: Networks) -> Machine:
    return networks.machine


def test_isolated_networks_do_not_reach_each_other(networks: Networks) -> None:
    blue, green, _ = networks.attach()
    assert are_apart(blue, green)
    assert networks.drops() == (2 if networks.backend == "nftables" else 4)
    rules = networks.machine.rules()
    networks.machine.add(networks.blue, "c4")
    assert networks.machine.rules() == rules
    networks.machine.delete(networks.blue, "c4")
    networks.delete()


@pytest.mark.parametrize("isolate", [True, STRICT])
@pytest.mark.parametrize("container", ["c1", "c2"])
def test_the_networks_backends_may_differ(networks: Networks, container: str, isolate: bool | str) -> None:
    """Each isolated one keeps its own containers in, a strict one others out as well."""
    networks.all["c1"] = networks.all["c1"] | {"isolate": isolate}
    if isolate == STRICT:
        networks.all["c2"] = networks.all["c2"] | {"isolate": False}
    other = "iptables" if networks.backend == "nftables" else "nftables"
    networks.all[container] = networks.all[container] | {"ipMasqBackend": other}
    blue, green, _ = networks.attach()
    assert are_apart(blue, green)
    networks.delete()


@pytest.mark.parametrize("is_first", [True, False])
def test_strict_networks_and_others_do_not_reach_each_other(networks: Networks, is_first: bool) -> None:
    """Whatever the others are, in either order."""
    strict = {"c1": networks.blue | {"isolate": STRICT}, "c4": networks.config("gold", 40, isolate=STRICT)}
    others = {"c2": networks.green, "c3": networks.plain}
    networks.all = strict | others if is_first else others | strict
    containers = dict(zip(networks.all, networks.attach(), strict=True))
    blue, green, plain, gold = (containers[name] for name in ("c1", "c2", "c3", "c4"))
    rules = networks.machine.rules()
    with ThreadPoolExecutor(3) as pool:
        pairs = ((green, GREEN), (plain, PLAIN), (gold, GOLD))
        assert all(pool.map(lambda pair: are_apart(blue, pair[0], BLUE, pair[1]), pairs))
    assert not are_apart(green, plain, GREEN, PLAIN)
    # However many others there are.
    networks.machine.add(networks.config("more", 50), "c5")
    assert [rule for rule in networks.machine.rules() if "more" not in rule and rule in rules] == rules
    assert are_apart(blue, networks.machine.container("c5"), BLUE, {4: "10.50.0.2", 6: "fd00:50::2"})
    networks.machine.delete(networks.config("more", 50), "c5")
    networks.delete()


@families
def test_a_strict_network_reaches_all_else(networks: Networks, outside: Outside, version: int) -> None:
    networks.all["c1"] = networks.blue | {"isolate": STRICT}
    blue, *_ = networks.attach()
    host = networks.machine.host
    assert ask_source(outside.namespace, OUTSIDE[version], blue, TCP) == UPLINK[version]
    assert ask_source(host, GATEWAY[version], blue, TCP) == BLUE[version]
    assert ask_source(blue, BLUE[version], host, TCP) == GATEWAY[version]
    networks.machine.add(networks.all["c1"], "c4")
    assert ask_source(blue, BLUE[version], networks.machine.container("c4"), TCP)
    networks.machine.delete(networks.all["c1"], "c4")
    networks.delete()


def test_strictness_is_switched_on_and_off(networks: Networks) -> None:
    machine, blue = networks.machine, networks.blue
    first, second, third = networks.attach()
    drops = networks.drops()
    for number, (isolate, is_plain_apart) in enumerate(((STRICT, True), (True, False), (STRICT, True))):
        assert machine.fail(blue | {"isolate": isolate}, "c1", command="CHECK")["code"] == 104
        machine.add(blue | {"isolate": isolate}, f"c{number + 4}")
        machine.check(blue | {"isolate": isolate}, "c1")
        assert are_apart(first, third, BLUE, PLAIN) == is_plain_apart
        assert are_apart(first, second)
    for number in (4, 5, 6):
        machine.delete(blue, f"c{number}")
    machine.add(blue, "c7")
    assert networks.drops() == drops
    machine.delete(blue, "c7")
    networks.delete()


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_strictness_that_no_record_tells_of(networks: Networks, command: str) -> None:
    """It was turned off, the records were lost, and the last container goes."""
    machine, blue = networks.machine, networks.blue | {"isolate": False}
    networks.all["c1"] = networks.blue | {"isolate": STRICT}
    *_, plain = networks.attach()
    shutil.rmtree(machine.records / "blue")
    if command == "DEL":
        machine.delete(blue, "c1")
    else:
        machine.collect_garbage(blue)
    machine.add(blue, "c4")
    assert not are_apart(machine.container("c4"), plain, {4: "10.10.0.3", 6: "fd00:10::3"}, PLAIN)
    machine.delete(blue, "c4")
    networks.all = {"c2": networks.green, "c3": networks.plain}
    networks.delete()


def test_the_backend_is_changed_while_containers_run(networks: Networks) -> None:
    blue, green, _ = networks.attach()
    other = "iptables" if networks.backend == "nftables" else "nftables"
    networks.machine.add(networks.blue | {"ipMasqBackend": other}, "c4")
    assert are_apart(blue, green)
    networks.machine.delete(networks.blue, "c4")
    networks.delete()


@families
def test_all_else_is_reached(networks: Networks, outside: Outside, version: int) -> None:
    """Each of these is a connection there and answers back."""
    blue, green, plain = networks.attach()
    host = networks.machine.host
    for isolated, addresses in ((blue, BLUE), (green, GREEN)):
        # It is another network whose containers' addresses are masqueraded.
        assert ask_source(plain, PLAIN[version], isolated, TCP)
        assert ask_source(isolated, addresses[version], plain, TCP)
        assert ask_source(outside.namespace, OUTSIDE[version], isolated, TCP) == UPLINK[version]
    assert ask_source(host, GATEWAY[version], blue, TCP) == BLUE[version]
    assert ask_source(blue, BLUE[version], host, TCP) == GATEWAY[version]
    networks.machine.add(networks.blue, "c4")
    assert ask_source(blue, BLUE[version], networks.machine.container("c4"), TCP)


@families
def test_a_connection_from_outside_is_answered(networks: Networks, outside: Outside, version: int) -> None:
    blue, *_ = networks.attach()
    subnet = {4: "10.10.0.0/24", 6: "fd00:10::/64"}[version]
    outside.namespace.run("ip", f"-{version}", "route", "add", subnet, "via", UPLINK[version])
    assert ask_source(blue, BLUE[version], outside.namespace, TCP) == OUTSIDE[version]


@families
@pytest.mark.parametrize("isolate", [True, STRICT])
def test_a_published_port_is_reached(
    networks: Networks, outside: Outside, version: int, isolate: bool | str
) -> None:
    networks.all["c2"] = networks.green | {"isolate": isolate}
    blue, green, _ = networks.attach()
    networks.machine.iptables("-P FORWARD DROP", family={4: "iptables", 6: "ip6tables"}[version])
    target = {4: f"{GREEN[4]}:80", 6: f"[{GREEN[6]}]:80"}[version]
    networks.machine.iptables(
        f"-t nat -A PREROUTING -d {UPLINK[version]} -p tcp --dport 8080 -j DNAT --to-destination {target}",
        family={4: "iptables", 6: "ip6tables"}[version],
    )
    if networks.backend == "nftables":
        # This backend leaves FORWARD alone.
        networks.machine.iptables("-P FORWARD ACCEPT", family={4: "iptables", 6: "ip6tables"}[version])
    with open_socket(green, version, TCP) as listener:
        listener.bind((GREEN[version], 80))
        listener.listen()
        for client in (blue, outside.namespace):
            with open_socket(client, version, TCP) as talker:
                talker.connect((UPLINK[version], 8080))
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"pong")
                    assert talker.recv(4) == b"pong"
        with open_socket(blue, version, TCP) as talker:
            talker.settimeout(1)
            with pytest.raises(TimeoutError):
                talker.connect((GREEN[version], 80))


def test_a_flush_is_noticed_by_check_and_healed_by_the_next_add(networks: Networks) -> None:
    blue, green, _ = networks.attach()
    machine, drops = networks.machine, networks.drops()
    networks.flush()
    assert not are_apart(blue, green)
    assert machine.fail(networks.blue, "c1", command="CHECK")["msg"] == MISSING
    machine.add(networks.blue, "c4")
    machine.check(networks.blue, "c1")
    assert machine.fail(networks.green, "c2", command="CHECK")["msg"] == MISSING.replace("blue", "green")
    machine.add(networks.green, "c5")
    assert networks.drops() == drops
    assert are_apart(blue, green)
    machine.delete(networks.blue, "c4")
    machine.delete(networks.green, "c5")
    networks.flush()
    networks.delete()


@pytest.mark.parametrize("isolate", [True, STRICT])
def test_the_rule_alone_is_missed(networks: Networks, isolate: bool | str) -> None:
    machine = networks.machine
    networks.blue |= {"isolate": isolate}
    machine.add(networks.blue)
    if networks.backend == "nftables":
        machine.host.run("nft", "flush", "chain", "inet", calc_chain("blue").lower(), "forward")
    else:
        (family, rule) = next(rule.split(" ", 1) for rule in machine.rules() if "devgroup" in rule)
        table = "mangle" if isolate == STRICT else "filter"
        machine.iptables(f"-t {table} {rule.replace('-A', '-D')}", family=family)
    error = machine.fail(networks.blue, command="CHECK")
    assert error["msg"] == MISSING
    assert "lacks the rule" in error["details"]
    assert "group" in error["details"]
    machine.add(networks.blue, "c2")
    machine.check(networks.blue)


@pytest.mark.parametrize("masquerade", [True, False])
def test_the_key_is_switched_on_and_off(networks: Networks, masquerade: bool) -> None:
    machine = networks.machine
    networks.all = {name: config | {"ipMasq": masquerade} for name, config in networks.all.items()}
    blue = networks.all["c1"]
    networks.all["c1"] = blue | {"isolate": False}
    first, second, _ = networks.attach()
    assert not are_apart(first, second)
    drops = networks.drops()
    assert machine.fail(blue, "c1", command="CHECK")["code"] == 104

    machine.add(blue, "c4")
    assert networks.drops() == 2 * drops
    machine.check(blue, "c1")
    assert are_apart(first, second)

    machine.add(blue | {"isolate": False}, "c5")
    assert networks.drops() == drops
    assert group(machine, "br10") == OPEN_GROUP
    machine.check(blue | {"isolate": False}, "c1")
    machine.check(blue | {"isolate": False}, "c5")
    assert not are_apart(first, second)
    for container in ("c4", "c5"):
        machine.delete(blue, container)
    networks.delete()


def test_masquerading_is_switched_on_and_off_beside_it(networks: Networks) -> None:
    machine, blue = networks.machine, networks.blue
    off = blue | {"ipMasq": False}
    machine.add(off, "c1")
    before = machine.rules()
    assert "MASQUERADE" not in str(before)
    assert "ACCEPT" not in str(before)
    machine.add(blue, "c2")
    machine.check(blue, "c2")
    both = machine.rules()
    assert networks.backend == "nftables" or str(both).count("MASQUERADE") == 2
    # c2 may still depend on it.
    machine.add(off, "c3")
    machine.check(off, "c3")
    assert machine.rules() == both
    for container in ("c1", "c2", "c3"):
        machine.delete(off, container)
    assert_no_rules(networks.machine)


def test_networks_without_a_gateway(networks: Networks) -> None:
    """Without gateway and masquerading there are rules as well: somebody may give the bridge an address."""
    machine = networks.machine
    for name in ("c1", "c2"):
        internal = {"isDefaultGateway": None, "ipMasq": None}
        networks.all[name] = {k: v for k, v in networks.all[name].items() if k not in internal}
    blue, green, _ = networks.attach()
    for number, container in ((10, blue), (20, green)):
        for version, address in ((4, f"10.{number}.0.1/24"), (6, f"fd00:{number}::1/64")):
            nodad = ["nodad"] if version == 6 else []
            machine.host.run("ip", "addr", "add", address, "dev", f"br{number}", *nodad)
            gateway = address.partition("/")[0]
            container.run("ip", f"-{version}", "route", "add", "default", "via", gateway)
    assert are_apart(blue, green)
    networks.flush()
    assert not are_apart(blue, green)
    networks.delete()


@pytest.mark.parametrize("masquerade", [True, False])
def test_gc_and_a_failed_add_leave_nothing(networks: Networks, masquerade: bool) -> None:
    machine, config = networks.machine, networks.blue | {"ipMasq": masquerade}
    machine.add(config)
    machine.collect_garbage(config)
    assert_no_rules(networks.machine)
    machine.host.run("ip", "link", "set", "br10", "group", "0")
    machine.container().run("ip", "link", "add", "eth0", "type", "veth", "peer", "far")
    machine.fail(config)
    machine.fail(config, "c2", ifname="lo")
    assert_no_rules(networks.machine)


def test_rules_that_were_made_before_there_was_isolation(networks: Networks) -> None:
    """The record of an older release says less."""
    machine = networks.machine
    machine.add(networks.plain, "c1")
    record = machine.records / "plain/firewall"
    known = loads(record.read_text())
    old = str({k: v for k, v in known.items() if k not in ("masqueraded", "isolated")})
    record.write_text(old.replace("'", '"').replace("True", "true"))
    rules = sorted(machine.rules())
    machine.check(networks.plain, "c1")
    machine.delete(networks.plain, "c1")
    assert_no_rules(networks.machine)
    machine.add(networks.plain, "c1")
    record.write_text(old.replace("'", '"').replace("True", "true"))
    machine.add(networks.plain, "c2")
    assert sorted(machine.rules()) == rules
    machine.delete(networks.plain, "c1")
    machine.delete(networks.plain, "c2")
    assert_no_rules(networks.machine)
