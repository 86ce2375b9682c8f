"""The configuration of the host's routers: what is made for it, taken back after it, and left alone."""

import json
import stat
import time
from collections.abc import Iterator

import pytest

from netns.router_lab import GATEWAYS, LINKS, RouterLab
from netns.watched import settle
from shibafu.netlink.constants import RTM_DELROUTE
from shibafu.netlink.socket import NetlinkSocket
from support.machine import Machine
from support.waiting import wait_for

# RTNLGRP_IPV4_ROUTE and _IPV6_ROUTE (linux/rtnetlink.h).
ROUTE_GROUPS = 1 << 6 | 1 << 10
SWITCH = "net/ipv{}/conf/{}/ignore_routes_with_linkdown"


@pytest.fixture
def lab(machine: Machine) -> Iterator[RouterLab]:
    with RouterLab(machine) as made:
        yield made


def once(lab: RouterLab, *options: str) -> list[str]:
    """Have the watcher look once; return what it said."""
    return lab.shibafu(" ".join(["watch run --once", *options])).splitlines()


def read_switches(lab: RouterLab) -> str:
    """Return the switches of all links concerned, and that of all links."""
    names = [SWITCH.format(version, link) for version in (4, 6) for link in (*LINKS, "all")]
    return "".join(lab.host.run("sysctl", "-n", *names).split())


def count_removed_defaults(announced: NetlinkSocket) -> int:
    """Return how many default routes have been deleted since the last call."""
    count = 0
    while messages := announced.receive_announced():
        count += sum(kind == RTM_DELROUTE and not payload[1] for kind, _, _, _, payload in messages)
    return count


def test_nothing_happens_without_a_configuration(lab: RouterLab) -> None:
    with lab.watch() as watched:
        assert watched.read_status()["routers"] == []
    assert lab.list_defaults(4) == lab.list_defaults(6) == []
    assert read_switches(lab) == "000000"
    assert not lab.find_record().exists()


def test_routes_and_switches(lab: RouterLab) -> None:
    """They stay when the watcher ends, and another one finds everything in order."""
    lab.configure()
    said = once(lab)
    assert len(said) == 8
    for version in (4, 6):
        for gateway, link, metric in zip(GATEWAYS[version], LINKS, (100, 200), strict=True):
            assert f"routers: set ignore_routes_with_linkdown of link {link} for IPv{version}" in said
            assert f"routers: added default route via {gateway} dev {link} metric {metric}" in said
    for version in (4, 6):
        assert [line.split(" pref ")[0].strip() for line in lab.list_defaults(version)] == [
            f"default via {gateway} dev {link} proto 115 metric {metric}"
            for gateway, link, metric in zip(GATEWAYS[version], LINKS, (100, 200), strict=True)
        ]
    # Not the switch of all links, which are others', too.
    assert read_switches(lab) == "110110"
    assert stat.S_IMODE(lab.find_record().stat().st_mode) == 0o600
    assert once(lab) == []


@pytest.mark.parametrize("is_empty", [False, pytest.param(True, marks=pytest.mark.long)])
def test_configuration_goes(lab: RouterLab, is_empty: bool) -> None:
    """Also while no watcher is at work. What was there before comes back."""
    lab.host.run("sysctl", "-qw", SWITCH.format(4, "eth1") + "=1")
    lab.configure()
    once(lab)
    if is_empty:
        lab.write()
    else:
        lab.file.unlink()
    once(lab)
    assert lab.list_defaults(4) == lab.list_defaults(6) == []
    assert read_switches(lab) == "010000"
    assert not lab.find_record().exists()
    assert once(lab) == []


@pytest.mark.long
def test_configuration_changes(lab: RouterLab) -> None:
    """While the watcher runs: one router less, another metric, and mistakes, which change nothing."""
    lab.configure(4)
    with lab.watch() as watched:
        wait_for(lambda: len(lab.list_defaults()) == 2)
        lab.write({"gateway": GATEWAYS[4][1], "dev": "eth1", "metric": 50})
        wait_for(lambda: len(lab.list_defaults()) == 1)
        assert " metric 50" in lab.list_defaults()[0]
        assert read_switches(lab) == "010000"
        lab.file.write_text("routers:\n  - {gateway: 192.0.2, dev: eth0, metric: 1}\n")
        mistake = f"{lab.file}:2: invalid IP address: 192.0.2"
        watched.wait_for(f"routers: {mistake}")
        settle()
        assert len(lab.list_defaults()) == 1
        assert watched.read_status()["routerMistakes"] == [mistake]
        assert mistake in lab.shibafu("watch status")
        lab.file.unlink()
        wait_for(lambda: not lab.list_defaults())
        wait_for(lambda: watched.read_status()["routers"] == [])
        assert watched.read_status()["routerMistakes"] == []


@pytest.mark.parametrize("version", [4, pytest.param(6, marks=pytest.mark.long)])
def test_metrics_are_given_to_other_routers(lab: RouterLab, version: int) -> None:
    """To each other, and to a router with another address; there is a route at every moment."""
    first, second = GATEWAYS[version]
    lab.configure(version)
    once(lab)
    lab.write(
        {"gateway": first, "dev": "eth0", "metric": 200}, {"gateway": second, "dev": "eth1", "metric": 100}
    )
    with lab.host.enter(), NetlinkSocket(ROUTE_GROUPS) as announced:
        assert once(lab) == []
        assert count_removed_defaults(announced) == 0
        assert lab.find_first(version) == "eth1"
        assert len(lab.list_defaults(version)) == 2
        third = first + "7"
        lab.write({"gateway": third, "dev": "eth0", "metric": 100})
        assert once(lab)[1:] == [f"routers: added default route via {third} dev eth0 metric 100"]
        # That with the metric 200, which no router has any more.
        assert count_removed_defaults(announced) == 1
    (route,) = lab.list_defaults(version)
    assert route.startswith(f"default via {third} dev eth0 proto 115 metric 100")


@pytest.mark.long
def test_mistakes_do_not_stop_the_watcher(lab: RouterLab) -> None:
    lab.file.write_text("routers: 5")
    assert once(lab) == [f'routers: {lab.file}:1: "routers" must be a list: each item begins with a dash']


@pytest.mark.long
def test_a_file_that_cannot_be_read_changes_nothing(lab: RouterLab) -> None:
    """What was read before goes on to be followed, without a delay."""
    lab.configure(4)
    with lab.watch() as watched:
        wait_for(lambda: len(lab.list_defaults()) == 2)
        lab.file.unlink()
        lab.file.mkdir()
        watched.wait_for(f"routers: {lab.file}: Is a directory")
        lab.cut(0)
        watched.wait_for("is active now")
        assert not any("cannot look at" in line for line in watched.lines)


@pytest.mark.long
def test_dry_run_changes_nothing(lab: RouterLab) -> None:
    lab.configure(4)
    said = once(lab, "--dry-run")
    assert f"routers: would add default route via {GATEWAYS[4][0]} dev eth0 metric 100" in said
    assert "routers: would set ignore_routes_with_linkdown of link eth0 for IPv4" in said
    assert lab.list_defaults() == []
    assert read_switches(lab) == "000000"
    assert not lab.find_record().exists()
    once(lab)
    before = lab.list_defaults()
    lab.file.unlink()
    assert len(once(lab, "--dry-run")) == 2
    assert lab.list_defaults() == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "command", "problem"),
    [
        ({"dev": "eth7"}, "true", "there is no link eth7"),
        ({}, "ip link set eth0 down", "link eth0 is down: set it up with `ip link set eth0 up`"),
        (
            {"gateway": "10.0.0.1"},
            "true",
            "10.0.0.1 is in no subnet of link eth0: correct it, or give eth0 an address",
        ),
        (
            {"gateway": "192.0.2.9"},
            "true",
            "192.0.2.9 is an address of this host itself: name one of a router",
        ),
        (
            {},
            "ip link set eth0 arp off",
            "link eth0 is not an Ethernet link, so 192.0.2.1 cannot be asked whether it lives",
        ),
    ],
)
def test_router_that_cannot_be_used(
    lab: RouterLab, first: dict[str, str], command: str, problem: str
) -> None:
    """It is named, and the other one is used."""
    lab.host.run(*command.split())
    lab.configure(4, **first)
    with lab.watch() as watched:
        router = first.get("gateway", "192.0.2.1"), first.get("dev", "eth0")
        watched.wait_for(f"routers: {router[0]} dev {router[1]} cannot be used: {problem}")
        assert [line.split(" dev ")[1][:4] for line in lab.list_defaults()] == ["eth1"]
        shown = watched.read_status()["routers"][0]
        assert (shown["state"], shown["problem"]) == ("dead", problem)
        assert f"dead, {problem}" in lab.shibafu("watch status")


@pytest.mark.long
def test_link_comes_later(lab: RouterLab) -> None:
    lab.host.run("ip", "link", "set", "eth0", "name", "later", "down")
    lab.configure(4)
    with lab.watch() as watched:
        watched.wait_for("cannot be used: there is no link eth0")
        lab.host.run("ip", "link", "set", "later", "name", "eth0")
        watched.wait_for("cannot be used: link eth0 is down")
        lab.host.run("ip", "link", "set", "eth0", "up")
        watched.wait_for(f"{GATEWAYS[4][0]} dev eth0 is active now, since it works and is preferred")
        assert lab.find_first(4) == "eth0"


@pytest.mark.parametrize(
    ("version", "theirs"),
    [
        (4, "via 192.0.2.200 dev eth0 proto dhcp metric 50"),
        pytest.param(4, "dev eth1 scope link", marks=pytest.mark.long),
        pytest.param(6, "via fe80::7 dev eth0 proto ra metric 50", marks=pytest.mark.long),
    ],
)
def test_route_of_others_is_preferred(lab: RouterLab, version: int, theirs: str) -> None:
    """It is told, and stays as it is."""
    lab.host.run("ip", f"-{version}", "route", "add", "default", *theirs.split())
    before = lab.list_defaults(version)
    lab.configure(version)
    with lab.watch() as watched:
        line = watched.wait_for(
            f"{GATEWAYS[version][0]} dev eth0 is not used, since another default route is preferred: "
        )
        if "proto" in theirs:
            assert line.endswith(f"via {theirs.split()[1]}, metric 50, proto {theirs.split()[5]}")
        assert lab.read_states(watched)[GATEWAYS[version][0]] == "backup"
        assert lab.list_defaults(version)[0] == before[0]
    lab.file.unlink()
    once(lab)
    assert lab.list_defaults(version) == before


@pytest.mark.long
def test_route_of_others_in_between(lab: RouterLab, machine: Machine) -> None:
    """Routes that are not preferred are left alone also while a router is dead."""
    lab.host.run("ip", "route", "add", "default", "via", "192.0.2.200", "proto", "dhcp", "metric", "150")
    before = lab.list_defaults()
    lab.configure(4)
    with lab.watch() as watched:
        lab.wait_until_routed(watched)
        lab.silence(1)
        watched.wait_for(f"{GATEWAYS[4][1]} dev eth1 does not answer")
        assert lab.find_first(4) == "eth0"
        assert before[0] in lab.list_defaults()
    lab.write()
    once(lab)
    assert lab.list_defaults() == before


@pytest.mark.parametrize("version", [pytest.param(4, marks=pytest.mark.long), 6])
def test_route_of_others_with_the_same_metric(lab: RouterLab, version: int) -> None:
    gateway = GATEWAYS[version][0][:-1] + "77"
    lab.host.run(*f"ip -{version} route add default via {gateway} dev eth0 metric 200".split())
    before = lab.list_defaults(version)
    lab.configure(version)
    said = f"cannot add default route via {GATEWAYS[version][1]} dev eth1 metric 200: "
    assert f"routers: {said}another default route has this metric" in once(lab)
    assert before[0] in lab.list_defaults(version)
    assert len(lab.list_defaults(version)) == 2


@pytest.mark.long
def test_what_others_remove_is_restored(lab: RouterLab) -> None:
    """At once, but not again and again."""
    lab.configure(4)
    with lab.watch() as watched:
        wait_for(lambda: len(lab.list_defaults()) == 2)
        lab.host.run("ip", "route", "del", "default", "via", GATEWAYS[4][0])
        watched.wait_for(f"added default route via {GATEWAYS[4][0]} dev eth0 metric 100 again")
        lab.host.run("sysctl", "-qw", SWITCH.format(4, "eth0") + "=0")
        watched.wait_for("set ignore_routes_with_linkdown of link eth0 for IPv4 again")
        delays = []
        for _ in range(4):
            wait_for(lambda: len(lab.list_defaults()) == 2)
            began = time.monotonic()
            lab.host.run("ip", "route", "del", "default", "via", GATEWAYS[4][0])
            wait_for(lambda: len(lab.list_defaults()) == 2)
            delays.append(time.monotonic() - began)
        # Three losses are restored at once, the next ones a second and two after the one before.
        assert max(delays) > 0.5


@pytest.mark.long
def test_metrics(lab: RouterLab) -> None:
    lab.configure(4)
    file = lab.file.with_suffix(".prom")
    with lab.watch("--metrics", str(file)) as watched:
        lab.wait_until_routed(watched)
        lab.cut(0)
        watched.wait_for("is active now")
        labels = f'gateway="{GATEWAYS[4][1]}",link="eth1"'
        wait_for(lambda: f'shibafu_watch_router{{{labels},state="active"}} 1' in file.read_text())
        assert f"shibafu_watch_router_takeovers_total{{{labels}}} 1" in file.read_text()
        assert 'link="eth0",state="dead"} 1' in file.read_text()
        shown = watched.read_status()["routers"]
        assert [one["metric"] for one in shown] == [20100, 200]
        assert "192.0.2.1     eth0   20100          0  dead" in lab.shibafu("watch status")


@pytest.mark.long
def test_record_of_another_namespace(lab: RouterLab) -> None:
    """Inode numbers are used again: what was noted for the former namespace is not done to this one."""
    record = lab.find_record()
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"netns": "1.former-boot", "switches": {"ipv4/eth0": "0"}}))
    lab.host.run("sysctl", "-qw", SWITCH.format(4, "eth0") + "=1")
    once(lab)
    assert read_switches(lab) == "100000"
