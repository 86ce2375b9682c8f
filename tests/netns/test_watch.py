"""`shibafu watch run`: whatever is taken away is there again, before anybody has asked for help."""

import re
from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from netns.blue_network import BlueNetwork
from netns.watched import Watched, assert_heals_within, settle
from shibafu.cni.names import calc_chain, calc_host_veth
from support.stream import Stream
from support.traffic import OUTSIDE, UPLINK, Outside
from support.waiting import wait_for

# Seconds; it takes 20 to 60 ms, but machines that run tests are busy.
BOUND = 0.25
LOAD = """
flush ruleset
table inet filter {
    chain input { type filter hook input priority filter; }
    chain forward { type filter hook forward priority filter; }
}
"""


@pytest.fixture
def outside(network: BlueNetwork) -> Iterator[Outside]:
    made = Outside(network.host)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("command", "healed"),
    [
        ("ip link del br-blue", "bridge br-blue is missing"),
        ("ip link set br-blue down", "bridge br-blue is down"),
        ("ip link set {port} nomaster", "link {port} is not a port of bridge br-blue"),
        ("ip link set {port} down", "link {port} of the host is down"),
        ("ip addr del 10.66.0.1/24 dev br-blue", "gateway address 10.66.0.1/24 is missing on br-blue"),
        ("ip route del 10.66.0.0/24", "the host has no route to 10.66.0."),
        ("sysctl -qw net.ipv4.ip_forward=0", "forwarding of IPv4 is turned off on the host"),
    ],
)
def test_connections_go_on(network: BlueNetwork, outside: Outside, command: str, healed: str) -> None:
    """New ones, whose source has to be the host's: bridge, addresses, switches and rules are needed."""
    network.create()
    _break(network, outside, command, healed)


@pytest.mark.parametrize(
    ("command", "backend"),
    [
        ("nft flush ruleset", "iptables"),
        # As nftables.service does when it is restarted.
        ("nft -f {load}", "iptables"),
        pytest.param("nft delete table ip nat", "iptables", marks=pytest.mark.long),
        ("iptables -t nat -F", "iptables"),
        pytest.param("nft flush ruleset", "nftables", marks=pytest.mark.long),
        ("nft -f {load}", "nftables"),
        pytest.param("nft flush table inet {chain}", "nftables", marks=pytest.mark.long),
        ("nft delete table inet {chain}", "nftables"),
    ],
)
def test_rules_come_back(
    network: BlueNetwork, outside: Outside, tmp_path: Path, command: str, backend: str
) -> None:
    (tmp_path / "load").write_text(LOAD)
    command = command.replace("{load}", f"{tmp_path}/load")
    network.create("--driver-opt", f"ipMasqBackend={backend}")
    _break(network, outside, command, "firewall rules of network blue are missing")


def _break(network: BlueNetwork, outside: Outside, command: str, healed: str) -> None:
    """Break something, and see that it is healed before anybody notices."""
    words = {"port": calc_host_veth("blue", network.web.name, "eth0"), "chain": calc_chain("blue").lower()}
    with (
        Watched(network.shibafu) as watched,
        Stream(outside.namespace, OUTSIDE[4], network.web, UPLINK[4]) as stream,
    ):
        assert_heals_within(BOUND, stream, lambda: network.host.run(*command.format(**words).split()))
        watched.wait_for(healed.format(**words))
    network.check()


def test_ipv6_addresses_that_go_with_a_bridge_are_there_again(network: BlueNetwork) -> None:
    network.create("--ipv6")
    (bridge,) = loads(network.host.run("ip", "-j", "-6", "addr", "show", "br-blue", "scope", "global"))
    address = bridge["addr_info"][0]["local"]
    with Watched(network.shibafu) as watched, Stream(network.host, address, network.web) as stream:
        assert_heals_within(BOUND, stream, lambda: network.host.run("ip", "link", "set", "br-blue", "down"))
        watched.wait_for(f"gateway address {address}/")


def test_it_says_what_it_has_healed_and_who_did_it(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        network.host.run("nft", "flush", "ruleset")
        line = watched.wait_for("healed")
        assert re.fullmatch(
            r"network blue: healed the firewall's rules \(firewall rules of network blue are missing; "
            r"changed by nft\[\d+\]\) in \d+ ms",
            line,
        )
        status = watched.read_status()
        assert status["pid"] == watched.pid
        assert status["heals"] == [{"network": "blue", "resource": "Rules", "count": 1}]
        (heal,) = status["last"]
        assert heal["culprit"].startswith("nft[")
        assert heal["seconds"] > 0
        of_network = {"running": True, "heals": 1, "contested": [], "lost": [], "uplinks": []}
        assert network.shibafu.json("network ls")[0]["watch"] == of_network
        assert network.shibafu.json("network inspect blue")[0]["watch"] == of_network
        assert "watched, 1 heal" in network.shibafu("network inspect blue")
    assert not network.shibafu.json("watch status", status=3)["running"]
    assert "`shibafu watch run`" in network.shibafu.run("watch", "status", status=3)[0]


def test_what_was_broken_before_is_healed_at_the_start(network: BlueNetwork) -> None:
    network.create()
    network.host.run("ip", "link", "del", "br-blue")
    network.host.run("nft", "flush", "ruleset")
    metrics = network.shibafu.store / "watch.prom"
    status = network.shibafu.json(f"watch run --once --metrics {metrics}")
    assert {heal["resource"] for heal in status["heals"]} == {"Bridge", "Gateway", "Port", "Rules"}
    written = metrics.read_text()
    assert "shibafu_watch_up 0\n" in written
    assert 'shibafu_watch_heals_total{network="blue",resource="Bridge"} 1\n' in written
    network.check()


def test_a_dry_run_changes_nothing(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu, "--dry-run") as watched:
        network.host.run("ip", "link", "del", "br-blue")
        watched.wait_for("would heal: bridge br-blue is missing")
        settle()
        assert "br-blue" not in network.host.run("ip", "link")


def test_what_it_has_done_itself_is_not_blamed_on_anybody(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        network.host.run("nft", "flush", "ruleset")
        watched.wait_for("firewall rules of network blue")
        network.host.run("ip", "link", "set", "br-blue", "down")
        assert "changed by" not in watched.wait_for("bridge br-blue is down")


def test_a_configuration_that_cannot_be_read_is_named(network: BlueNetwork) -> None:
    network.create()
    (network.shibafu.conf_dir / "torn.conflist").write_text("{")
    with Watched(network.shibafu) as watched:
        network.host.run("ip", "link", "del", "br-blue")
        watched.wait_for("healed bridge br-blue")
    assert len([line for line in watched.lines if "torn.conflist" in line]) == 1


def test_there_is_one_watcher(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu):
        assert "another watcher is already running" in network.shibafu.fail("watch run", status=75)
        assert "another watcher is already running" in network.shibafu.fail("watch run --once", status=75)


def test_one_that_was_killed_is_followed_by_another(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        watched.kill()
    assert not network.shibafu.json("watch status", status=3)["running"]
    network.host.run("ip", "link", "del", "br-blue")
    with Watched(network.shibafu) as watched:
        watched.wait_for("healed bridge br-blue")
        network.check()


def test_nothing_is_made_for_a_network_without_containers(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        for container in (network.web, network.db):
            network.shibafu(f"network disconnect blue {container.name}")
        network.host.run("ip", "link", "del", "br-blue")
        settle()
        assert "br-blue" not in network.host.run("ip", "link")
        assert "SHIBAFU" not in network.host.run("nft", "list", "ruleset")
        assert watched.lines == []


def test_a_network_that_begins_later_is_watched(network: BlueNetwork) -> None:
    with Watched(network.shibafu) as watched:
        network.create()
        network.host.run("ip", "link", "del", "br-blue")
        watched.wait_for("healed bridge br-blue")
        network.check()


def test_what_is_broken_on_purpose_stays_so_until_it_is_resumed(network: BlueNetwork) -> None:
    network.create()
    with Watched(network.shibafu) as watched:
        network.shibafu("network pause blue")
        network.host.run("ip", "link", "del", "br-blue")
        network.host.run("nft", "flush", "ruleset")
        network.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        settle()
        assert "br-blue" not in network.host.run("ip", "link")
        assert "SHIBAFU" not in network.host.run("nft", "list", "ruleset")
        assert not any("healed" in line for line in watched.lines)
        network.shibafu("network resume blue")
        network.check()
        network.host.run("ip", "link", "set", "br-blue", "down")
        watched.wait_for("bridge br-blue is down")
        network.shibafu("network down blue")
        settle()
        assert "state DOWN" in network.host.run("ip", "link", "show", "br-blue")


def test_a_container_without_its_link_is_lost(network: BlueNetwork) -> None:
    network.create()
    port = calc_host_veth("blue", network.web.name, "eth0")
    with Watched(network.shibafu) as watched:
        network.host.run("ip", "link", "del", port)
        watched.wait_for(f"lost: link {port} of container {network.web.name}")
        assert port in watched.read_status()["lost"][0]["what"]
        assert " lost " in network.shibafu("network ls").splitlines()[1]
        network.shibafu("network repair")
        network.check()
        wait_for(lambda: not watched.read_status()["lost"])
