"""A gateway that two hosts share, each of which has two cables to the others."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.gateway_lab import WORLD, GatewayHost, GatewayLab, open_gateway_lab
from netns.watched import Watched, settle
from support.stream import Stream
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.long
# Seconds; the watcher takes 20 ms to see it, and keepalived as long as for any other reason.
BOUND = 1.0


class _Cables:
    """The hosts' second cables, to a second switch behind the first one; bridges come with containers.

    Args:
        lab: the hosts.
    """

    def __init__(self, lab: GatewayLab) -> None:
        self._switch = lab.switch
        run = lab.switch.run
        run("ip", "link", "add", "second", "up", "type", "bridge")
        run("ip", "link", "add", "between", "up", "master", "switch", "type", "veth", "peer", "other")
        run("ip", "link", "set", "other", "up", "master", "second")
        for host in lab.hosts:
            host.namespace.run("ip", "link", "del", "br0")
            peer = f"second{host.number}"
            host.namespace.run(
                *("ip", "link", "add", "eth2", "type", "veth", "peer", "name", peer),
                *("netns", lab.switch.name),
            )
            run("ip", "link", "set", peer, "up", "master", "second")
            host.config |= {"uplinks": ["eth1", "eth2"], "uplinkProbe": "none"}

    def set(self, host: GatewayHost, number: int, state: str) -> None:
        """Set the carrier of a host's first or second cable."""
        end = ("port", "second")[number - 1]
        self._switch.run("ip", "link", "set", f"{end}{host.number}", state)


@pytest.fixture
def lab(suite: Suite, tmp_path: Path) -> Iterator[GatewayLab]:
    with open_gateway_lab(suite, tmp_path) as made:
        yield made


def test_a_host_without_a_cable_gives_the_gateway_up(lab: GatewayLab) -> None:
    """It keeps it while another cable works; and its cables' return costs nothing."""
    cables = _Cables(lab)
    lab.start()
    first, second = lab.hosts
    with (
        first.make_command() as shibafu,
        Watched(shibafu) as watched,
        Stream(lab.world, WORLD[4], second.machine.container("c2")) as stream,
    ):
        cables.set(first, 1, "down")
        watched.wait_for("uplink eth2 is active now")
        settle()
        assert first.has_gateway()
        began = time.monotonic()
        cables.set(first, 2, "down")
        wait_for(lambda: second.has_gateway() and first.is_without_gateway())
        stream.wait_for_arrivals()
        assert stream.measure_gap(began) < BOUND
        seen = shibafu.json("network inspect net")[0]["sharedGateway"]
        assert (seen["here"], seen["takingPart"]) == (False, False)
        began = time.monotonic()
        cables.set(first, 1, "up")
        watched.wait_for("uplink eth1 is active now")
        wait_for(lambda: shibafu.json("network inspect net")[0]["sharedGateway"]["takingPart"])
        settle()
        stream.wait_for_arrivals()
        assert stream.measure_gap(began) < BOUND
        assert first.is_without_gateway()
        assert second.has_gateway()
        # It takes part again.
        second.stop_keepalived()
        wait_for(first.has_gateway)


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_watcher_that_ends_does_not_keep_the_gateway_away(lab: GatewayLab, is_killed: bool) -> None:
    """What it has told keepalived of dead uplinks it takes back, and if it was killed, a repair does."""
    cables = _Cables(lab)
    first = lab.hosts[0]
    first.start_keepalived()
    first.add()
    wait_for(first.has_gateway)
    with first.make_command() as shibafu:
        with Watched(shibafu) as watched:
            cables.set(first, 1, "down")
            watched.wait_for("uplink eth2 is active now")
            cables.set(first, 2, "down")
            wait_for(first.is_without_gateway)
            if is_killed:
                watched.kill()
        cables.set(first, 2, "up")
        if is_killed:
            settle()
            assert first.is_without_gateway()
            said = "keepalived was told that uplink eth2 has no carrier, although it has one"
            assert first.machine.fail(first.config, "c1", command="CHECK")["msg"] == said
            shibafu("network repair net")
        wait_for(first.has_gateway)
        first.check()


def test_the_command_creates_a_network_with_both(lab: GatewayLab) -> None:
    """As in the manual, on hosts whose bridge does not exist before; it goes with the network."""
    _Cables(lab)
    for host, own in zip(lab.hosts, ("10.7.0.10-10.7.0.99", "10.7.0.100-10.7.0.199"), strict=True):
        host.start_keepalived()
        container = host.machine.container(f"c{host.number}")
        with host.make_command() as shibafu:
            (shibafu.conf_dir / "net.conflist").unlink()
            shibafu(
                f"network create lan --subnet 10.7.0.0/24 --ip-range {own} --uplink eth1 --uplink eth2 "
                f"--gateway-ha vrrp --gateway-host-ip 10.7.0.{host.number + 1}/24"
            )
            shibafu.connect("lan", container)
            shibafu("network check lan")
        wait_for(lambda: "10.7.0.1/32" in lab.hosts[0].machine.addresses("br-lan"))
    second = lab.hosts[1]
    assert second.machine.addresses("br-lan") == {"10.7.0.3/24"}
    # Through the first cables, to a container of the other host, and to the gateway there.
    container = second.machine.container("c2")
    for target in ("10.7.0.10", "10.7.0.1"):
        container.run("ping", "-c1", "-w5", target)
    with second.make_command() as shibafu:
        (shibafu.conf_dir / "net.conflist").unlink()
        shibafu("network rm --force lan")
    assert "br-lan" not in second.machine.links()
    assert "master" not in second.namespace.run("ip", "link", "show", "eth1")
