"""An uplink whose addresses the host is reached by: they are the bridge's while it is its port."""

import time
from collections.abc import Iterator

import pytest

from netns.uplink_lab import BRIDGE, GATEWAY, UplinkLab
from netns.watched import make_command
from support.machine import Machine
from support.stream import Stream
from support.waiting import wait_for

OWN, OWN6, GATEWAY6 = "10.7.0.5", "fd07::5", "fd07::1"
FAR = "192.0.2.0/24"
# Seconds without a packet; it takes some milliseconds, but machines that run tests are busy.
BOUND = 0.3


@pytest.fixture
def lab(machine: Machine) -> Iterator[UplinkLab]:
    with UplinkLab(machine, moveAddresses=True) as made:
        made.gateway.run("ip", "addr", "add", f"{GATEWAY6}/64", "dev", "eth0", "nodad")
        for line in (
            "link set eth1 up",
            f"addr add {OWN}/24 brd + dev eth1",
            f"addr add {OWN6}/64 dev eth1 nodad",
            f"route add default via {GATEWAY} dev eth1 metric 100",
            f"route add {FAR} via {GATEWAY} dev eth1 src {OWN} mtu 1400",
            f"-6 route add default via {GATEWAY6} dev eth1",
        ):
            made.host.run("ip", *line.split())
        yield made


def list_addresses(lab: UplinkLab, link: str) -> set[str]:
    shown = lab.host.run("ip", "-br", "addr", "show", link).split()[2:]
    return {one for one in shown if not one.startswith("fe80:")}


def list_routes(lab: UplinkLab, link: str) -> list[str]:
    """Return the routes through a link that somebody has made."""
    shown = [lab.host.run("ip", family, "route", "show", "dev", link) for family in ("-4", "-6")]
    lines = [line.strip() for text in shown for line in text.splitlines()]
    return sorted(" ".join(line.split()) for line in lines if "proto kernel" not in line)


def test_they_move_and_come_back(lab: UplinkLab) -> None:
    """With hardly a packet lost, in both directions; `rm` leaves the link as it was."""
    addresses, routes = list_addresses(lab, "eth1"), list_routes(lab, "eth1")
    assert len(routes) == 3
    to_host, to_host6 = Stream(lab.host, OWN, lab.gateway), Stream(lab.host, OWN6, lab.gateway)
    with to_host, to_host6, Stream(lab.gateway, GATEWAY, lab.host) as from_host:
        begin = time.monotonic()
        lab.machine.add(lab.config)
        assert lab.list_ports() == ["eth1"]
        assert (list_addresses(lab, BRIDGE), list_addresses(lab, "eth1")) == (addresses, set())
        assert (list_routes(lab, BRIDGE), list_routes(lab, "eth1")) == (routes, [])
        lab.machine.check(lab.config)
        lab.machine.add(lab.config, "c2")
        for container in ("c1", "c2"):
            lab.machine.delete(lab.config, container)
        # Like the bridge, they stay.
        assert list_addresses(lab, BRIDGE) == addresses
        lab.shibafu("network rm net --force")
        assert BRIDGE not in lab.host.run("ip", "-br", "link")
        assert (list_addresses(lab, "eth1"), list_routes(lab, "eth1")) == (addresses, routes)
        gaps = []
        for stream in (to_host, to_host6, from_host):
            stream.wait_for_arrivals()
            gaps.append(stream.measure_gap(begin))
        print(f"gaps in ms: {[round(gap * 1000) for gap in gaps]}")
        assert max(gaps) < BOUND


def test_failed_add_gives_them_back(lab: UplinkLab) -> None:
    addresses, routes = list_addresses(lab, "eth1"), list_routes(lab, "eth1")
    lab.machine.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in lab.machine.call("ADD", lab.config).json["msg"]
    assert BRIDGE not in lab.host.run("ip", "-br", "link")
    assert (list_addresses(lab, "eth1"), list_routes(lab, "eth1")) == (addresses, routes)


@pytest.mark.long
def test_killed_between_any_two_steps(lab: UplinkLab) -> None:
    """The next ADD goes on, and `rm` gives everything back."""
    addresses, routes = list_addresses(lab, "eth1"), list_routes(lab, "eth1")
    for step in range(30):
        call = lab.machine.start("ADD", lab.config)
        time.sleep(0.03 + 0.004 * step)
        call.kill()
        lab.machine.delete(lab.config)
        lab.machine.add(lab.config)
        assert (list_addresses(lab, BRIDGE), list_addresses(lab, "eth1")) == (addresses, set())
        assert (list_routes(lab, BRIDGE), list_routes(lab, "eth1")) == (routes, [])
        lab.machine.check(lab.config)
        lab.machine.delete(lab.config)
        lab.shibafu("network rm net --force")
        assert (list_addresses(lab, "eth1"), list_routes(lab, "eth1")) == (addresses, routes)
        make_command(lab.machine.suite, lab.machine, lab.config)


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            f"ip addr del {OWN}/24 dev {BRIDGE}",
            f"address {OWN}/24, which an uplink had, is missing",
        ),
        (f"ip route del {FAR} dev {BRIDGE}", f"{FAR}, which led through an uplink, is missing on bridge"),
        (
            f"ip -6 route del default dev {BRIDGE}",
            "the route to default, which led through an uplink",
        ),
        ("ip addr add 10.7.0.6/24 dev eth1", "address 10.7.0.6/24 is on uplink eth1, and not on bridge br0"),
    ],
)
@pytest.mark.parametrize("way", ["repair", "watch"])
def test_what_is_missing_is_put_back(lab: UplinkLab, command: str, said: str, way: str) -> None:
    lab.machine.add(lab.config)
    routes = list_routes(lab, BRIDGE)
    if way == "watch":
        with lab.watch() as watched:
            lab.wait_until_probed(watched)
            lab.host.run(*command.split())
            wait_for(lambda: lab.machine.call("CHECK", lab.config).status == 0)
    else:
        lab.host.run(*command.split())
        assert said in lab.machine.call("CHECK", lab.config).json["msg"]
        make_command(lab.machine.suite, lab.machine, lab.config)("network repair net")
        lab.machine.check(lab.config)
    assert {f"{OWN}/24", f"{OWN6}/64"} <= list_addresses(lab, BRIDGE)
    assert list_routes(lab, BRIDGE) == routes


@pytest.mark.long
def test_they_survive_the_bridge(lab: UplinkLab) -> None:
    """Somebody deletes it; the watcher makes it again, with the host's addresses."""
    lab.machine.add(lab.config)
    addresses, routes = list_addresses(lab, BRIDGE), list_routes(lab, BRIDGE)
    with lab.watch() as watched:
        lab.wait_until_probed(watched)
        lab.host.run("ip", "link", "del", BRIDGE)
        wait_for(lambda: lab.machine.call("CHECK", lab.config).status == 0)
    assert (list_addresses(lab, BRIDGE), list_routes(lab, BRIDGE)) == (addresses, routes)


@pytest.mark.long
def test_link_gets_them_back_without_the_bridge(lab: UplinkLab) -> None:
    """Somebody has deleted it, and nothing has made it again before `rm`."""
    addresses, routes = list_addresses(lab, "eth1"), list_routes(lab, "eth1")
    lab.machine.add(lab.config)
    lab.host.run("ip", "link", "del", BRIDGE)
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net --force")
    assert (list_addresses(lab, "eth1"), list_routes(lab, "eth1")) == (addresses, routes)


@pytest.mark.long
def test_failover_keeps_them(lab: UplinkLab) -> None:
    """They are the bridge's, whatever its port is."""
    lab.machine.add(lab.config)
    with lab.watch() as watched, Stream(lab.host, OWN, lab.gateway) as stream:
        lab.wait_until_probed(watched)
        begin = time.monotonic()
        lab.cut("eth1")
        watched.wait_for("uplink eth2 is active now")
        stream.wait_for_arrivals()
        assert stream.measure_gap(begin) < 1.0


@pytest.mark.parametrize("gateway", ["10.7.0.2", pytest.param(OWN, marks=pytest.mark.long)])
def test_host_is_the_gateway(lab: UplinkLab, gateway: str) -> None:
    """The moved addresses are not in its way, also when it is missing; one of them may be it."""
    addresses, routes = list_addresses(lab, "eth1"), list_routes(lab, "eth1")
    lab.shibafu("network rm net --force")
    lab.shibafu(
        f"network create lan --subnet 10.7.0.0/24 --gateway {gateway} --ip-range 10.7.0.10-10.7.0.99 "
        "--uplink eth1 --driver-opt moveAddresses=true"
    )
    container = lab.machine.container()
    lab.shibafu(f"network connect lan {container.name}")
    assert list_addresses(lab, "br-lan") == addresses | {f"{gateway}/24"}
    lab.shibafu("network check lan")
    lab.host.run("ip", "addr", "del", f"{gateway}/24", "dev", "br-lan")
    lab.shibafu.fail("network check lan")
    lab.shibafu("network repair lan")
    lab.shibafu("network check lan")
    assert list_addresses(lab, "br-lan") == addresses | {f"{gateway}/24"}
    lab.shibafu(f"network disconnect lan {container.name}")
    lab.shibafu("network rm lan")
    assert (list_addresses(lab, "eth1"), list_routes(lab, "eth1")) == (addresses, routes)


def test_limited_address_is_refused(lab: UplinkLab) -> None:
    """What renews it would look for it on the link."""
    lab.host.run(
        "ip", "addr", "change", f"{OWN}/24", "dev", "eth1", "valid_lft", "600", "preferred_lft", "300"
    )
    answer = lab.machine.call("ADD", lab.config)
    assert answer.json["msg"] == f"uplink eth1 has the address {OWN}/24 for a limited time"
    assert "DHCP" in answer.json["details"]
    assert f"{OWN}/24" in list_addresses(lab, "eth1")
    assert BRIDGE not in lab.host.run("ip", "-br", "link")


# What the host has beside plain addresses and routes.
PARTICULARS = (
    "-4 route replace default via inet6 fd07::1 dev eth1 metric 50",
    "addr add 10.9.0.1 peer 10.9.0.2/32 dev eth1",
    "addr add 10.7.0.6/24 dev eth1 label eth1:1",
    "addr add 10.8.0.5/16 dev eth1 noprefixroute metric 50",
    "route add 10.8.0.0/24 dev eth1 proto kernel scope link src 10.8.0.5 metric 60",
    "addr add fd08::5/64 dev eth1 nodad noprefixroute preferred_lft 0",
    f"route add 198.51.100.0/24 tos 0x10 via {GATEWAY} dev eth1",
    f"route add 198.51.100.0/24 via {GATEWAY} dev eth1 mtu lock 1400 initcwnd 20 quickack 1",
    "route add 198.51.101.0/24 via 203.0.113.1 dev eth1 onlink realm 5",
    "route add local 198.51.102.7 dev eth1",
    f"route add default via {GATEWAY} dev eth1 table 1000",
    f"-6 route add default from fd08::/64 via {GATEWAY6} dev eth1",
    f"-6 route add 2001:db8::/32 via {GATEWAY6} dev eth1 pref high",
)


def list_everything(lab: UplinkLab, link: str) -> list[str]:
    """Return a link's addresses and routes, of all tables, in all detail but its name."""
    shown = lab.host.run("ip", "-o", "addr", "show", "dev", link).splitlines()
    lines = [line.partition(" inet")[2].replace(f" {link}:1\\", f" {link}\\") for line in shown]
    lines = [line.replace(f" {link}\\", "\\").replace(" secondary", "") for line in lines]
    for family in ("-4", "-6"):
        lines += lab.host.run("ip", family, "route", "show", "table", "all", "dev", link).splitlines()
    kept = (" ".join(line.split()) for line in lines if "fe80:" not in line and "ff00:" not in line)
    # What the kernel has in its own table comes a moment later.
    return sorted(line for line in kept if "table local proto kernel" not in line)


def test_particulars_move_too(lab: UplinkLab) -> None:
    """A point-to-point address, a route of IPv4 through a router of IPv6, metrics, and the like."""
    for line in PARTICULARS:
        lab.host.run("ip", *line.split())
    before, shown = list_everything(lab, "eth1"), lab.host.run("ip", "-4", "addr", "show", "eth1")
    lab.machine.add(lab.config)
    assert list_everything(lab, BRIDGE) == before
    assert list_everything(lab, "eth1") == []
    lab.machine.check(lab.config)
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net --force")
    assert list_everything(lab, "eth1") == before
    assert "eth1:1" in shown
    assert "eth1:1" in lab.host.run("ip", "-4", "addr", "show", "eth1")


@pytest.mark.parametrize(
    "lines",
    [
        [f"route replace default metric 100 nexthop via {GATEWAY} dev eth1 nexthop via 10.6.0.1 dev eth2"],
        ["-6 route append default via fd06::1 dev eth2"],
        [f"nexthop add id 7 via {GATEWAY} dev eth1", "route add 198.51.100.0/24 nhid 7"],
    ],
)
def test_route_of_several_links_is_refused(lab: UplinkLab, lines: list[str]) -> None:
    """Taking the address from one of them would take the route from the host."""
    for line in ("link set eth2 up", "addr add 10.6.0.5/24 dev eth2", "addr add fd06::5/64 dev eth2 nodad"):
        lab.host.run("ip", *line.split())
    for line in lines:
        lab.host.run("ip", *line.split())
    routes = lab.host.run("ip", "-4", "route") + lab.host.run("ip", "-6", "route")
    answer = lab.machine.call("ADD", lab.config)
    assert "whose next hops are several, or objects" in answer.json["msg"]
    assert lab.host.run("ip", "-4", "route") + lab.host.run("ip", "-6", "route") == routes


def replug(lab: UplinkLab, *options: str) -> None:
    """Unplug eth1, and plug in a card that has these options."""
    lab.host.run("ip", "link", "del", "eth1")
    peer = ["type", "veth", "peer", "eth1", "netns", lab.world.name]
    lab.host.run("ip", "link", "add", "eth1", *options, *peer)
    lab.world.run("ip", "link", "set", "eth1", "master", "sw1", "up")


def read_mac(lab: UplinkLab, link: str) -> str:
    return lab.host.run("ip", "-br", "link", "show", link).split()[2]


@pytest.mark.parametrize("is_repaired", [False, True])
def test_link_gets_them_back_after_it_was_unplugged(lab: UplinkLab, is_repaired: bool) -> None:
    """It has another number then."""
    before = list_everything(lab, "eth1")
    lab.machine.add(lab.config)
    replug(lab, "address", read_mac(lab, "eth1"))
    if is_repaired:
        lab.shibafu("network repair net")
        lab.machine.check(lab.config)
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net --force")
    assert list_everything(lab, "eth1") == before


def test_other_link_does_not_get_them(lab: UplinkLab) -> None:
    """One that has the number of an uplink that was unplugged, or its name, is none of shibafu's."""
    lab.machine.add(lab.config)
    number = lab.host.run("ip", "-o", "link", "show", "eth1").partition(":")[0]
    replug(lab)
    lab.host.run("ip", "link", "add", "other", "index", number, "type", "bridge")
    lab.machine.delete(lab.config)
    said = lab.shibafu.fail("network rm net")
    assert f"uplink eth1 is gone, which had {OWN}/24, {OWN6}/64: the host would lose its addresses" in said
    assert OWN in str(list_addresses(lab, BRIDGE))
    lab.shibafu("network rm net --force")
    assert list_addresses(lab, "other") == list_addresses(lab, "eth1") == set()


def test_renamed_link_gets_them_back(lab: UplinkLab) -> None:
    before = list_everything(lab, "eth1")
    lab.machine.add(lab.config)
    lab.host.run("ip", "link", "set", "eth1", "down", "name", "lan1")
    lab.machine.delete(lab.config)
    lab.shibafu("network rm net")
    assert list_everything(lab, "lan1") == before


def test_link_that_cannot_have_them_is_told(lab: UplinkLab) -> None:
    """The bridge, and the host's way out, stay until it can."""
    before = list_everything(lab, "eth1")
    lab.machine.add(lab.config)
    lab.machine.delete(lab.config)
    lab.host.run("sysctl", "-q", "net.ipv6.conf.eth1.disable_ipv6=1")
    assert f"cannot add address {OWN6}/64" in lab.shibafu.fail("network rm net")
    assert any(line.startswith(f"default via {GATEWAY}") for line in list_routes(lab, BRIDGE))
    lab.host.run("sysctl", "-q", "net.ipv6.conf.eth1.disable_ipv6=0")
    lab.shibafu("network rm net")
    assert list_everything(lab, "eth1") == before


def test_refused_address_leaves_them(lab: UplinkLab) -> None:
    """What the bridge has by then is taken from it."""
    before = list_everything(lab, "eth1")
    lab.host.run("ip", "link", "add", BRIDGE, "type", "bridge")
    lab.host.run("sysctl", "-q", f"net.ipv6.conf.{BRIDGE}.disable_ipv6=1")
    assert OWN6 in lab.machine.call("ADD", lab.config).json["msg"]
    assert list_everything(lab, "eth1") == before
    assert list_addresses(lab, BRIDGE) == set()
