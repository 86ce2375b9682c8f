"""`isolate`: isolated networks do not reach each other, and everything else goes on."""

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from json import loads
from pathlib import Path

import pytest

from netns.namespaces import Namespace
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.resources.fabric import Bridge, Gateway
from shibafu.cni.names import ISOLATED_GROUP, NETWORK_GROUPS, OPEN, STRICT, calc_chain
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.view import View
from support.calls import make_request
from support.machine import (
    OUTSIDE,
    SYSTEM_PATH,
    UPLINK,
    Config,
    Machine,
    Outside,
    ask_source,
    can_reach,
    link_iptables,
    open_socket,
)
from support.remains import assert_no_rules
from support.suite import Suite

TCP = socket.SOCK_STREAM
GROUP, OPEN_GROUP = str(ISOLATED_GROUP), str(NETWORK_GROUPS[OPEN])
# Addresses of the first container and of the gateway of each network.
BLUE, GREEN, PLAIN, GOLD = ({4: f"10.{n}.0.2", 6: f"fd00:{n}::2"} for n in (10, 20, 30, 40))
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
MISSING = "firewall rules of network blue are missing"

families = pytest.mark.parametrize("version", [4, 6])


class Networks:
    """Two isolated networks and one that is not, with the containers c1, c2 and c3.

    Args:
        machine: the host.
        backend: what their rules are made with.
    """

    def __init__(self, machine: Machine, backend: str) -> None:
        self.machine = machine
        self.backend = backend
        self.blue = self.config("blue", 10, isolate=True)
        self.green = self.config("green", 20, isolate=True)
        self.plain = self.config("plain", 30)
        self.all = {"c1": self.blue, "c2": self.green, "c3": self.plain}

    def config(self, name: str, number: int, **keys: object) -> Config:
        """Return a dual-stack NAT network."""
        subnets = f"10.{number}.0.0/24", f"fd00:{number}::/64"
        keys = {"name": name, "bridge": f"br{number}", "ipMasqBackend": self.backend} | keys
        return self.machine.config(*subnets, **keys)

    def attach(self) -> tuple[Namespace, ...]:
        """Attach the containers and return them."""
        for name, config in self.all.items():
            self.machine.add(config, name)
            self.machine.check(config, name)
        return tuple(map(self.machine.container, self.all))

    def delete(self) -> None:
        """Detach them; nothing is left."""
        for name, config in self.all.items():
            self.machine.delete(config, name)
        assert_no_rules(self.machine)

    def drops(self) -> int:
        """Return how many rules keep networks apart."""
        listed = self.machine.host.run("nft", "list", "ruleset") if self.backend == "nftables" else ""
        return listed.count(f"oifgroup {GROUP} ct state") + "\n".join(self.machine.rules()).count("devgroup")

    def flush(self) -> None:
        """Lose all rules, as an administrator or a reload does it."""
        if self.backend == "nftables":
            self.machine.host.run("nft", "flush", "ruleset")
            return
        for family in ("iptables", "ip6tables"):
            for arguments in ("-F", "-X", "-t nat -F", "-t nat -X"):
                self.machine.iptables(arguments, family=family)


@pytest.fixture(params=["nft", "legacy", "nftables"])
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


def are_apart(
    first: Namespace,
    second: Namespace,
    own: dict[int, str] = BLUE,
    others: dict[int, str] = GREEN,
) -> bool:
    """Return whether containers of blue and of green cannot reach each other at all; False if they can."""
    ways = [
        (server, addresses[version], client)
        for version in (4, 6)
        for server, addresses, client in ((first, own, second), (second, others, first))
    ]
    # All at once: each waits for what must not arrive.
    with ThreadPoolExecutor(len(ways)) as pool:
        reached = list(pool.map(can_reach, *zip(*ways, strict=True)))
    assert len(set(reached)) == 1, reached
    return not reached[0]


def fail_late(config: Config) -> Config:
    """Return a configuration whose ADD fails inside the container, when all of the host's is there."""
    unreachable = {"dst": "192.0.2.0/24", "gw": "198.51.100.1"}
    return config | {"ipam": config["ipam"] | {"routes": [unreachable]}}


def group(machine: Machine, link: str) -> str:
    (shown,) = loads(machine.host.run("ip", "-j", "link", "show", link))
    return str(shown["group"])


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


def test_a_bridge_that_a_strict_network_does_not_know(networks: Networks) -> None:
    """One that an older release made is told by its ports; a group of somebody else's stays, and is named."""
    machine = networks.machine
    networks.all["c1"] = strict = networks.blue | {"isolate": STRICT}
    blue, _, plain = networks.attach()
    for name in ("0", "7"):
        machine.host.run("ip", "link", "set", "br30", "group", name)
        machine.host.run("ip", "link", "add", f"docker{name}", "type", "bridge")
        assert not are_apart(blue, plain, BLUE, PLAIN)
        error = machine.fail(strict, "c1", command="CHECK")
        assert error["msg"] == "bridge br30 of another network is not kept apart"
        machine.check(networks.plain, "c3")
        machine.add(strict, "c4")
        assert are_apart(blue, plain, BLUE, PLAIN) == (name == "0")
        assert group(machine, f"docker{name}") == "default"
        machine.delete(strict, "c4")
    assert group(machine, "br30") == "7"
    networks.delete()


def test_the_outside_is_behind_a_bridge_of_an_open_network(networks: Networks, outside: Outside) -> None:
    machine = networks.machine
    run = machine.host.run
    run("ip", "link", "add", "wan", "type", "bridge")
    run("ip", "link", "set", "wan", "up")
    run("ip", "link", "set", "uplink", "master", "wan")
    run("ip", "addr", "flush", "dev", "uplink")
    run("ip", "addr", "add", f"{UPLINK[4]}/24", "dev", "wan")
    machine.add(machine.layer2(name="wan", bridge="wan"), "c5")
    networks.all["c1"] = networks.blue | {"isolate": STRICT}
    blue, *_ = networks.attach()
    machine.check(networks.all["c1"], "c1")
    assert group(machine, "wan") == "default"
    assert ask_source(outside.namespace, OUTSIDE[4], blue, TCP) == UPLINK[4]
    machine.delete(machine.layer2(name="wan", bridge="wan"), "c5")
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


def test_the_group_is_missed_and_set_again(networks: Networks) -> None:
    networks.attach()
    machine = networks.machine
    assert [group(machine, f"br{number}") for number in (10, 20, 30)] == [GROUP, GROUP, OPEN_GROUP]
    machine.host.run("ip", "link", "set", "br10", "group", "7")
    error = machine.fail(networks.blue, "c1", command="CHECK")
    assert (error["code"], error["msg"]) == (104, "link br10 is not in the group of isolated networks")
    machine.add(networks.blue, "c4")
    machine.check(networks.blue, "c1")
    assert group(machine, "br10") == GROUP


def test_a_group_of_somebody_elses_is_kept(networks: Networks) -> None:
    machine = networks.machine
    machine.host.run("ip", "link", "add", "br30", "group", "7", "type", "bridge")
    machine.add(networks.plain)
    assert group(machine, "br30") == "7"


@pytest.fixture(params=[False, True], ids=["remembered", "forgotten"])
def is_forgotten(request: pytest.FixtureRequest) -> bool:
    """Whether the records of the network whose bridge is wanted are lost."""
    return bool(request.param)


@pytest.mark.parametrize("networks", ["nft"], indirect=True)
@pytest.mark.parametrize("isolate", [True, STRICT])
@pytest.mark.parametrize("subnets", ["others", "the same", "others of IPv6"])
def test_an_open_network_wants_the_bridge_of_an_isolated_one(
    networks: Networks, isolate: bool | str, subnets: str, is_forgotten: bool
) -> None:
    """Its ADD is refused because of the other network or the bridge's addresses, or fails at the end."""
    machine = networks.machine
    networks.blue |= {"isolate": isolate}
    networks.all["c1"] = networks.blue
    blue, green, plain = networks.attach()
    other, addresses = (plain, PLAIN) if isolate == STRICT else (green, GREEN)
    if is_forgotten:
        shutil.rmtree(machine.records / "blue")
    before = group(machine, "br10"), machine.addresses("br10")
    number = 10 if subnets == "the same" else 50
    thief = fail_late(networks.config("thief", number, bridge="br10", forceAddress=not is_forgotten))
    if subnets == "others of IPv6":
        thief["ipam"] |= {"ranges": thief["ipam"]["ranges"][1:]}
    error = machine.fail(thief, "c5")
    if is_forgotten:
        assert ("already has an IP address" if subnets == "others" else "route") in error["msg"]
    else:
        how = "strictly isolated" if isolate == STRICT else "isolated"
        assert error["msg"] == f'network "blue" on bridge "br10" is {how}, and this one is not'
        assert '"isolate"' in error["details"]
    assert (group(machine, "br10"), machine.addresses("br10")) == before
    assert are_apart(blue, other, BLUE, addresses)


@pytest.mark.parametrize("networks", ["nft"], indirect=True)
def test_a_failed_add_of_an_isolated_network_leaves_an_open_one_s_bridge(
    networks: Networks, is_forgotten: bool
) -> None:
    machine = networks.machine
    _, green, plain = networks.attach()
    if is_forgotten:
        shutil.rmtree(machine.records / "plain")
    machine.fail(fail_late(networks.config("gold", 30, isolate=True)), "c5")
    assert group(machine, "br30") == OPEN_GROUP
    assert not are_apart(green, plain, GREEN, PLAIN)


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


def test_the_gateway_of_a_vlan_has_the_group(networks: Networks) -> None:
    machine = networks.machine
    blue = networks.blue | {"bridge": "br0", "vlan": 100}
    answer = machine.call("ADD", blue)
    if answer.status and "CONFIG_BRIDGE_VLAN_FILTERING" in answer.json["details"]:
        pytest.skip("this kernel has no VLAN filtering on bridges")
    machine.add(networks.green | {"bridge": "br0", "vlan": 200}, "c2")
    assert [group(machine, link) for link in ("br0", "br0.100", "br0.200")] == ["default", GROUP, GROUP]
    assert are_apart(machine.container("c1"), machine.container("c2"))


@pytest.mark.parametrize("before", ["0", GROUP])
@pytest.mark.parametrize("isolate", [True, False])
def test_the_group_goes_with_the_gateway_and_not_with_the_bridge(
    host: Namespace, isolate: bool, before: str
) -> None:
    """Of links that are there, so that the kernel need not filter VLANs."""
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "add", "br0.100", "group", before, "type", "bridge")
    ipam = {"type": "host-local"}
    keys = {"bridge": "br0", "vlan": 100, "isGateway": True, "isolate": isolate, "ipam": ipam}
    config = BridgeConfig(make_request(keys))
    with host.enter(), NetlinkSocket() as sock:
        bridge, view = Bridge(config), View(sock)
        gateway = Gateway(config, bridge, [], [], "veth0", is_adding=True)
        for resource in (bridge, gateway):
            resource.ensure(view)
        groups = [link.group for link in (link_by_name(sock, name) for name in ("br0", "br0.100")) if link]
    assert groups == [0, ISOLATED_GROUP if isolate else NETWORK_GROUPS[OPEN]]
