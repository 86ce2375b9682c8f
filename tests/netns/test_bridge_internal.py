"""`internal`: what a container tries by which it would reach the host, or what lies beyond it."""

import socket
import time
from ipaddress import ip_address
from struct import pack
from typing import NamedTuple

import pytest

from support.machine import Config, Machine
from support.namespaces import Namespace
from support.remains import assert_clean, assert_no_rules
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source, open_socket

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
SUBNETS = ("10.10.0.0/24", "fd00:10::/64")
OWN = {4: "10.10.0.2", 6: "fd00:10::2"}
NEIGHBOUR = {4: "10.10.0.3", 6: "fd00:10::3"}
GATEWAY = {4: "10.10.0.1", 6: "fd00:10::1"}
NOBODY = str(ip_address(0))
PORT = 9999
# All that a bridge may treat in a way of its own (br_handle_frame in net/bridge/br_input.c).
RESERVED = {f"reserved {n:02x}": f"01:80:c2:00:00:{n:02x}" for n in range(16)}
GROUPS = {"broadcast": "ff:ff:ff:ff:ff:ff", "all nodes": "33:33:00:00:00:01"}
# A router with more than one link accepts sources that are behind another; containers' frames pass iptables.
SWITCHES = (
    "net.ipv4.conf.all.rp_filter=2",
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv6.conf.default.accept_dad=0",
    "net.bridge.bridge-nf-call-iptables=1",
    "net.bridge.bridge-nf-call-ip6tables=1",
)


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """A host that forwards, and hands to iptables what its bridges forward."""
    machine.host.run("sysctl", "-qw", *SWITCHES)
    return machine


@pytest.fixture
def config(machine: Machine) -> Config:
    """An internal network of both families."""
    return machine.config(*SUBNETS, internal=True, isDefaultGateway=None, ipMasq=None)


def attach(machine: Machine, config: Config) -> Namespace:
    """Attach the attacker, which is returned, and its neighbour."""
    for name in ("attacker", "neighbour"):
        machine.add(config, name)
    return machine.container("attacker")


def open_bridge(machine: Machine) -> None:
    """Undo, as others may without intent, all that switches do; an administrator adds addresses."""
    conf = {f"net.ipv4.conf.{link}.rp_filter=0" for link in ("all", "br0")}
    machine.host.run("sysctl", "-qw", *conf, "net.ipv6.conf.br0.disable_ipv6=0")
    machine.host.run("sysctl", "-qw", "net.ipv4.conf.br0.forwarding=1", "net.ipv6.conf.br0.forwarding=1")
    machine.host.run("ip", "addr", "add", f"{GATEWAY[4]}/24", "dev", "br0")
    machine.host.run("ip", "addr", "add", f"{GATEWAY[6]}/64", "dev", "br0", "nodad")
    # As `portmap` publishes ports: with br_netfilter this sees frames before the bridge decides.
    publish = f"-t nat -A PREROUTING -p udp -d {UPLINK[4]} --dport 80 -j DNAT --to {GATEWAY[4]}:{PORT}"
    machine.iptables(publish)


class Attack(NamedTuple):
    """A datagram in a frame of the attacker's making."""

    mac: str
    source: str
    destination: str
    port: int = PORT

    def calc_frame(self, text: bytes) -> bytes:
        source, destination = (ip_address(a).packed for a in (self.source, self.destination))
        length = 8 + len(text)
        datagram = pack("!HHHH", 1111, self.port, length, 0) + text
        pseudo = source + destination + pack("!II", length, 17) + datagram
        datagram = datagram[:6] + pack("!H", calc_checksum(pseudo) or 0xFFFF) + datagram[8:]
        if len(source) == 4:
            header = pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + source + destination
            header = header[:10] + pack("!H", calc_checksum(header)) + header[12:]
            kind = b"\x08\x00"
        else:
            header = pack("!IHBB", 6 << 28, length, 17, 64) + source + destination
            kind = b"\x86\xdd"
        return (
            bytes.fromhex(self.mac.replace(":", ""))
            + bytes.fromhex("02badbad0001")
            + kind
            + header
            + datagram
        )


def calc_checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def calc_attacks(bridge: Config) -> dict[str, Attack]:
    """Return what to try, by name."""
    attacks = {}
    for name, mac in ({"bridge": bridge["address"]} | GROUPS | RESERVED).items():
        attacks[f"{name}: nobody to everybody"] = Attack(mac, NOBODY, "255.255.255.255")
        for version in (4, 6):
            what = f"{name} IPv{version}"
            for place, address in (("host", UPLINK), ("outside", OUTSIDE), ("gateway", GATEWAY)):
                attacks[f"{what}: {place}"] = Attack(mac, OWN[version], address[version])
            # Whoever is outside is a source that the host knows the way to.
            attacks[f"{what}: host, spoofed"] = Attack(mac, OUTSIDE[version], UPLINK[version])
        attacks[f"{name}: published"] = Attack(mac, OWN[4], UPLINK[4], 80)
        for address in bridge["addr_info"]:
            if address["scope"] == "link":
                attacks[f"{name}: link-local"] = Attack(mac, "fe80::bad", address["local"])
    return attacks


def send_frames(machine: Machine, outside: Outside, attacker: Namespace) -> set[str]:
    """Send all of them as root in the container can; return the names of those that arrive."""
    for address in OUTSIDE.values():
        # So that the host knows the way when the frames come.
        ask_source(outside.namespace, address, machine.host, UDP)
    attacks = calc_attacks(machine.links()["br0"])
    listeners = [open_socket(place, v, UDP) for place in (machine.host, outside.namespace) for v in (4, 6)]
    with attacker.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        for listener in listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(("", PORT))
            listener.setblocking(False)
        raw.bind(("eth0", 0))
        for name, attack in attacks.items():
            raw.send(attack.calc_frame(name.encode()))
    time.sleep(0.5)
    arrived = set()
    for listener in listeners:
        try:
            while True:
                arrived.add(listener.recv(100).decode())
        except BlockingIOError:
            listener.close()
    return arrived


def connect(machine: Machine, outside: Outside, attacker: Namespace) -> set[str]:
    """Open TCP connections as any user in the container can; return the addresses that answer."""
    found = set()
    link_local = [a["local"] for a in machine.links()["br0"]["addr_info"] if a["scope"] == "link"]
    addresses = [GATEWAY[4], GATEWAY[6], UPLINK[4], UPLINK[6], *link_local]
    targets = [(machine.host, address) for address in addresses]
    targets += [(outside.namespace, address) for address in OUTSIDE.values()]
    for place, address in targets:
        version = ip_address(address).version
        with open_socket(place, version, TCP) as server, open_socket(attacker, version, TCP) as client:
            server.bind(("::" if version == 6 else "", 0))
            server.listen()
            client.settimeout(0.3)
            with attacker.enter():
                scope = (0, socket.if_nametoindex("eth0")) if address in link_local else ()
            try:
                client.connect((address, server.getsockname()[1], *scope))
                found.add("link-local" if address in link_local else address)
            except OSError:
                pass
    return found


def route_by_host(attacker: Namespace) -> None:
    """Have the attacker take the host for its router, as root in the container can."""
    for version, address in GATEWAY.items():
        attacker.run("ip", f"-{version}", "route", "add", "default", "via", address, "dev", "eth0")


def can_reach_neighbour(machine: Machine, attacker: Namespace) -> bool:
    neighbour = machine.container("neighbour")
    return all(
        ask_source(neighbour, NEIGHBOUR[version], attacker, kind) == OWN[version]
        for version in (4, 6)
        for kind in (TCP, UDP)
    )


@pytest.mark.parametrize(
    ("is_opened", "keys"),
    [
        (False, {}),
        (True, {}),
        (True, {"promiscMode": True}),
        (True, {"macspoofchk": True}),
        (True, {"ipam": None}),
    ],
)
def test_neither_the_host_nor_what_lies_beyond_is_reached(
    machine: Machine, outside: Outside, config: Config, is_opened: bool, keys: Config
) -> None:
    config |= keys
    attacker = attach(machine, config)
    if "ipam" in keys:
        for name, number in (("attacker", 2), ("neighbour", 3)):
            machine.container(name).run("ip", "addr", "add", f"10.10.0.{number}/24", "dev", "eth0")
            address = f"fd00:10::{number}/64"
            machine.container(name).run("ip", "addr", "add", address, "dev", "eth0", "nodad")
    if is_opened:
        open_bridge(machine)
    route_by_host(attacker)
    assert send_frames(machine, outside, attacker) == set()
    assert connect(machine, outside, attacker) == set()
    assert can_reach_neighbour(machine, attacker)
    for name in ("attacker", "neighbour"):
        machine.check(config, name)
        machine.delete(config, name)
    if is_opened:
        machine.iptables("-t nat -F")
    assert_no_rules(machine)


def test_other_networks_without_gateway_are_open(machine: Machine, outside: Outside, config: Config) -> None:
    """Proof that what the other tests send arrives where nothing keeps it from that."""
    attacker = attach(machine, config | {"internal": False})
    open_bridge(machine)
    route_by_host(attacker)
    arrived = send_frames(machine, outside, attacker)
    expected = {f"bridge IPv{v}: {place}" for v in (4, 6) for place in ("host", "outside", "gateway")}
    expected |= {"bridge: published", "bridge: link-local", "broadcast: nobody to everybody"}
    # What the port itself takes passes no hook of the bridge.
    assert expected | {"reserved 0e: nobody to everybody"} <= arrived
    assert connect(machine, outside, attacker) == {"link-local", *GATEWAY.values(), *UPLINK.values()}
    assert can_reach_neighbour(machine, attacker)


def test_switches_keep_out_what_they_can_while_the_rules_are_flushed(
    machine: Machine, outside: Outside, config: Config
) -> None:
    attacker = attach(machine, config)
    machine.host.run("nft", "flush", "ruleset")
    # Another network switches forwarding on, for all links.
    machine.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    machine.add(machine.config("10.20.0.0/24", name="other", bridge="br1"), "other")
    arrived = send_frames(machine, outside, attacker)
    assert {name for name in arrived if not name.endswith("nobody to everybody")} == set()
    assert connect(machine, outside, attacker) == set()


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "flush chain bridge {} input",
        "insert rule bridge {} input accept",
        "add table bridge {} {{ flags dormant; }}",
    ],
)
def test_check_sees_that_it_is_gone_and_the_next_add_restores_it(
    machine: Machine, outside: Outside, config: Config, change: str
) -> None:
    attacker = attach(machine, config)
    (table,) = (table.split()[2] for table in machine.tables() if table.endswith("-internal"))
    machine.host.run("nft", *change.format(table).split())
    assert "the rules that keep internal network" in machine.fail(config, "attacker", command="CHECK")["msg"]
    machine.add(config, "c3")
    for name in ("attacker", "neighbour", "c3"):
        machine.check(config, name)
    open_bridge(machine)
    assert send_frames(machine, outside, attacker) == set()


@pytest.mark.parametrize("change", ["group 0", "type bridge_slave group_fwd_mask 0"])
def test_check_sees_a_port_that_is_not_behind_it(machine: Machine, config: Config, change: str) -> None:
    machine.add(config)
    (port,) = (name for name in machine.links() if name.startswith("veth"))
    machine.host.run("ip", "link", "set", port, *change.split())
    assert f"link {port} can reach the host" in machine.fail(config, command="CHECK")["msg"]


def test_it_goes_with_the_last_container(machine: Machine, config: Config) -> None:
    names = [f"c{number}" for number in range(6)]
    for name in names:
        machine.container(name)
    for _ in range(2):
        calls = [machine.start("ADD", config, name) for name in names]
        assert [call.finish().status for call in calls] == [0] * 6
        for name in names[1:]:
            assert len(machine.tables()) == 1
            machine.delete(config, name)
        assert len(machine.tables()) == 1
        machine.collect_garbage(config)
        assert_clean(machine)


@pytest.mark.parametrize("names", [("c1", "c2"), ("c2", "c1")])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_it_goes_whatever_the_configuration_was(
    machine: Machine, config: Config, names: tuple[str, str], first: bool, last: bool
) -> None:
    machine.add(config | {"internal": first}, "c1")
    machine.add(config | {"internal": not first}, "c2")
    for name in names:
        machine.delete(config | {"internal": last}, name)
    assert_clean(machine)


def test_it_goes_though_records_were_lost(machine: Machine, config: Config) -> None:
    machine.add(config)
    for path in machine.records.glob("*/veth*"):
        path.unlink()
    machine.delete(config)
    assert_clean(machine)


def test_a_failed_add_leaves_none(machine: Machine, config: Config) -> None:
    bad = config["ipam"] | {"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}
    machine.fail(config | {"ipam": bad})
    assert_no_rules(machine)
    machine.add(config, "c2")
    machine.fail(config | {"ipam": bad})
    machine.check(config, "c2")


def test_without_nft(machine: Machine, config: Config) -> None:
    before = machine.snapshot()
    machine.hide("mount -t tmpfs none /usr/sbin")
    for command, code in (("STATUS", 50), ("ADD", 102)):
        error = machine.fail(config, command=command)
        assert (error["code"], error["msg"]) == (code, "nft is not installed")
        assert "left" not in error["details"]
    machine.prefix = []
    assert machine.snapshot() == before


@pytest.mark.parametrize("keys", [{"isGateway": True}, {"isDefaultGateway": True}, {"ipMasq": True}])
def test_it_has_no_gateway(machine: Machine, config: Config, keys: Config) -> None:
    error = machine.fail(config | keys)
    assert (error["code"], error["msg"]) == (7, "an internal network cannot have a gateway or masquerading")
