"""A gateway that two hosts share: who has it, and how long containers are cut off when it moves."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from netns.breakages_shared_gateway import SHARED_GATEWAY
from netns.gateway_lab import WORLD, GatewayHost, GatewayLab, open_gateway_lab
from netns.watched import Watched, settle
from support.stream import Stream
from support.suite import Suite
from support.traffic import can_reach
from support.waiting import wait_for

pytestmark = pytest.mark.long
# Seconds. keepalived takes a host for dead after 0.4; machines that run tests are busy.
BOUND = 1.0
# One of these are lost at most when nothing is: datagrams are sent every 4 ms.
NOTHING = 0.15


def _describe(is_here: bool) -> dict[str, object]:
    return {"network": "net", "here": is_here, "duplicates": []}


def _has_address(host: GatewayHost, address: str) -> bool:
    return address in host.machine.addresses("br0")


@pytest.fixture
def lab(suite: Suite, tmp_path: Path) -> Iterator[GatewayLab]:
    with open_gateway_lab(suite, tmp_path) as made:
        yield made


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("fail", "bound"),
    [
        pytest.param(lambda lab, host: host.kill_keepalived(), BOUND, id="killed"),
        pytest.param(lambda lab, host: lab.cut_off(host), BOUND, id="cut-off"),
        pytest.param(lambda lab, host: host.stop_keepalived(), NOTHING, id="stopped"),
        # The kernel may take a second to tell that a carrier is lost.
        pytest.param(lambda lab, host: lab.close_way_out(host), 2 * BOUND, id="without-a-way-out"),
    ],
)
def test_the_gateway_moves(
    lab: GatewayLab, version: int, fail: Callable[[GatewayLab, GatewayHost], None], bound: float
) -> None:
    """A container of the other host is served by this one."""
    lab.start()
    first, second = lab.hosts
    container = second.machine.container("c2")
    with Stream(lab.world, WORLD[version], container) as stream:
        began = time.monotonic()
        fail(lab, first)
        wait_for(second.has_gateway)
        stream.wait_for_arrivals()
        gap = stream.measure_gap(began)
    assert gap < bound


@pytest.mark.parametrize("is_cut_off", [True, False])
def test_the_return_of_a_host_costs_nothing(lab: GatewayLab, is_cut_off: bool) -> None:
    """It does not take the gateway back, and addresses that it has kept go."""
    lab.start()
    first, second = lab.hosts
    if is_cut_off:
        lab.cut_off(first)
    else:
        first.kill_keepalived()
    wait_for(second.has_gateway)
    with Stream(lab.world, WORLD[4], second.machine.container("c2")) as stream:
        began = time.monotonic()
        if is_cut_off:
            lab.reconnect(first)
        else:
            assert first.has_gateway()
            first.start_keepalived()
        wait_for(lambda: first.has_gateway() != second.has_gateway())
        settle()
        stream.wait_for_arrivals()
        gap = stream.measure_gap(began)
    assert first.has_gateway() != second.has_gateway()
    # Both had the gateway: it is whose keepalived has gone on, but for the time that finding that out takes.
    assert gap < (BOUND if is_cut_off else NOTHING)


def test_both_hosts_are_as_they_should_be(lab: GatewayLab) -> None:
    """Whichever has the gateway; and what ADD has written, another ADD leaves alone."""
    lab.start()
    for has_moved in (False, True):
        assert [host.has_gateway() for host in lab.hosts] == [not has_moved, has_moved]
        assert [host.is_without_gateway() for host in lab.hosts] == [has_moved, not has_moved]
        for host in lab.hosts:
            host.check()
            status = host.file.stat()
            host.machine.add(host.config, f"other{has_moved}")
            assert host.file.stat() == status
            assert host.machine.call("STATUS", host.config).status == 0
        if not has_moved:
            lab.hosts[0].stop_keepalived()
            wait_for(lab.hosts[1].has_gateway)
            lab.hosts[0].start_keepalived()
            settle()


def test_containers_of_the_same_name_reach_each_other(lab: GatewayLab) -> None:
    """Each host names its containers itself, on what is one segment."""
    lab.start()
    one, other = (host.machine.container("web") for host in lab.hosts)
    address, _ = [host.machine.add(host.config, "web")["ips"][0]["address"] for host in lab.hosts]
    assert can_reach(one, address.partition("/")[0], other)


def test_a_gateway_goes_on_when_its_file_is_read_again(lab: GatewayLab) -> None:
    """As after a change of another network's, or `systemctl reload keepalived`."""
    lab.start()
    first, second = lab.hosts
    with Stream(lab.world, WORLD[4], second.machine.container("c2")) as stream:
        began = time.monotonic()
        first.reload_keepalived()
        settle()
        gap = stream.measure_gap(began)
    assert first.has_gateway()
    assert gap < NOTHING


def test_a_new_bridge_is_found_by_keepalived(lab: GatewayLab) -> None:
    """One that had started before it, or had its predecessor: after the host's start and `ip link del`."""
    lab.start()
    first, second = lab.hosts
    for number in range(2):
        first.namespace.run("ip", "link", "del", "br0")
        wait_for(second.has_gateway)
        if number == 0:
            first.stop_keepalived()
            first.start_keepalived()
        first.machine.add(first.config, f"new{number}")
        first.namespace.run("ip", "link", "set", "eth1", "master", "br0")
        settle()
        assert first.is_without_gateway()
        lab.cut_off(second)
        wait_for(first.has_gateway)
        lab.reconnect(second)
        wait_for(lambda: first.has_gateway() != second.has_gateway())
        if not first.has_gateway():
            second.stop_keepalived()
            wait_for(first.has_gateway)
            second.start_keepalived()
            settle()


def test_the_watcher_leaves_the_gateway_to_keepalived(lab: GatewayLab) -> None:
    """Wherever it is, it is no fault; what is this host's own is restored, on either host."""
    lab.start()
    first, second = lab.hosts
    metrics = first.directory / "metrics"
    with (
        first.make_command() as one,
        second.make_command() as other,
        Watched(one, "--metrics", str(metrics)) as own,
        Watched(other) as its,
    ):
        # Not by the end of keepalived, of which a look in that moment tells.
        first.namespace.run("ip", "link", "set", "eth0", "down")
        wait_for(second.has_gateway)
        first.namespace.run("ip", "link", "set", "eth0", "up")
        settle()
        assert own.lines == ["network net: this host is no longer the gateway"]
        assert its.lines == ["network net: this host has become the gateway"]
        for shibafu, is_here in ((one, False), (other, True)):
            assert shibafu.json("watch status")["gateways"] == [_describe(is_here)]
            (seen,) = shibafu.json("network inspect net")
            assert (seen["sharedGateway"]["here"], seen["sharedGateway"]["takingPart"]) == (is_here, True)
            place = "on this host" if is_here else "not on this host"
            assert f"gateway 10.7.0.1, fd07::1: {place} (VRRP " in shibafu("network inspect net")
        value = 'shibafu_watch_gateway_here{network="net"}'
        assert f"{value} 0\n" in metrics.read_text()
        assert [first.is_without_gateway(), second.has_gateway()] == [True, True]
        for host, watched in ((first, own), (second, its)):
            address = host.config["gatewayHostIP"][0]
            host.namespace.run("ip", "address", "del", address, "dev", "br0")
            watched.wait_for(f"gateway address {address} is missing on br0")
            wait_for(partial(_has_address, host, address))
            host.file.unlink()
            host.namespace.run("ip", "link", "set", "br0", "mtu", "1400")
            watched.wait_for("conf.d/shibafu-net.conf is missing")
            wait_for(host.file.exists)
        first.namespace.run("ip", "link", "del", "br0")
        own.wait_for("bridge br0 is missing")
        wait_for(lambda: "br0" in first.machine.links())
        first.namespace.run("ip", "link", "set", "eth1", "master", "br0")
        settle()
        second.stop_keepalived()
        wait_for(first.has_gateway)
        first.check()


def test_a_watcher_that_starts_while_the_gateway_moves(lab: GatewayLab) -> None:
    """It heals nothing, and knows in the end where the gateway is."""
    lab.start()
    first, second = lab.hosts
    with second.make_command() as shibafu:
        with Watched(shibafu) as watched:
            lab.cut_off(first)
            watched.kill()
            with Watched(shibafu) as restarted:
                wait_for(second.has_gateway)
                wait_for(lambda: shibafu.json("watch status")["gateways"] == [_describe(True)])
                assert not any("healed" in line for line in watched.lines + restarted.lines)
        second.check()


def test_what_keeps_the_gateway_away_is_said(lab: GatewayLab) -> None:
    """A missing program, a missing line, a process that does not run, a missing link."""
    host = lab.hosts[0]
    machine, config = host.machine, host.config
    # There is nothing yet that it could run for, and a runtime asks before it attaches the first container.
    assert machine.call("STATUS", config).status == 0
    host.add()
    error = machine.call("STATUS", config).json
    assert (error["code"], error["msg"]) == (51, "keepalived is not running on this host")
    # Nothing is wrong but that.
    error = machine.fail(config, "c1", command="CHECK")
    assert "keepalived is not running on this host" in error["msg"]
    host.start_keepalived()
    wait_for(host.has_gateway)
    host.check()

    host.main_file.write_text("# nothing\n")
    for command in ("STATUS", "CHECK"):
        error = machine.fail(config, "c1", command=command)
        assert "keepalived.conf does not include the gateway of network net" in error["msg"]
        assert 'add the line "include /etc/keepalived/conf.d/*.conf"' in error["details"]
    error = machine.fail(config | {"vrrpPriority": 7}, "c9")
    assert "keepalived.conf does not include" in error["msg"]
    host.main_file.write_text("include conf.d/shibafu-*.conf\n")
    host.check()

    host.namespace.run("ip", "link", "set", "eth0", "name", "eth9")
    for command in ("STATUS", "CHECK"):
        error = machine.fail(config, "c1", command=command)
        assert "link eth0, which vrrpTrack names, is missing" in error["msg"]
    assert machine.fail(config, command="STATUS")["code"] == 51
    host.namespace.run("ip", "link", "set", "eth9", "name", "eth0")
    host.check()

    host.hide_keepalived()
    for command in ("STATUS", "CHECK"):
        error = machine.fail(config, "c1", command=command)
        assert (error["msg"].partition(": ")[2] or error["msg"]) == "keepalived is not installed"
        assert error["details"] == "install the package keepalived"
    assert machine.fail(config, command="STATUS")["code"] == 50


def test_what_breaks_is_named_and_mended(lab: GatewayLab) -> None:
    """By CHECK, and the dry run, in the same words."""
    host = lab.hosts[0]
    host.start_keepalived()
    host.add()
    with host.make_command() as shibafu:
        (view,) = shibafu.json("network inspect net")
        (router,) = [one for one in view["resources"] if one["resource"] == "virtualRouter"]
        described = router["attributes"]
        for breakage in SHARED_GATEWAY:
            for words in breakage.calc_words(described, {"path": str(host.file)}):
                words["length"] = "64" if ":" in words.get("address", "") else "24"
                host.namespace.run("sh", "-ec", breakage.command.format(**words))
                said = breakage.said.format(**words)
                assert said in host.machine.fail(host.config, "c1", command="CHECK")["msg"]
                assert said in [
                    fault["what"] for fault in shibafu.json("network repair -n", status=1)["faults"]
                ]
                shibafu("network repair net")
                host.check()


def test_an_add_that_fails_takes_its_file_away(lab: GatewayLab) -> None:
    """Unless another container has it, too."""
    host = lab.hosts[0]
    host.start_keepalived()
    unreachable = {"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}
    broken = host.config | {"ipam": host.config["ipam"] | unreachable}
    for is_there in (False, True):
        if is_there:
            host.add()
        error = host.machine.fail(broken, "c9")
        assert "cannot add route to 192.0.2.0/24" in error["msg"]
        assert host.file.exists() is is_there
    host.check()
    wait_for(host.has_gateway)


def test_a_second_network_on_the_bridge_is_refused(lab: GatewayLab) -> None:
    """keepalived would take the gateway's address for one of them, and from the other one."""
    host = lab.hosts[0]
    host.start_keepalived()
    host.add()
    ranges = [[{"subnet": "10.7.0.0/24", "rangeStart": "10.7.0.60", "rangeEnd": "10.7.0.69"}]]
    second = host.config | {"name": "second", "gatewayHostIP": ["10.7.0.2/24"]}
    second["ipam"] = host.config["ipam"] | {"ranges": ranges}
    said = "shibafu-net.conf has keepalived give another network's gateway to br0 already"
    assert said in host.machine.fail(second, "c9")["msg"]
    wait_for(host.has_gateway)
    host.check()
    # As the file does, keepalived's part stays without containers.
    host.machine.delete(host.config, "c1")
    assert said in host.machine.fail(second, "c9")["msg"]
    with host.make_command() as shibafu:
        shibafu("network rm net")
    host.machine.add(second, "c9")


@pytest.mark.parametrize("is_removed", [True, False])
def test_the_command_creates_and_removes_it(lab: GatewayLab, is_removed: bool) -> None:
    """With the network, or when the network has the gateway to itself from now on."""
    host = lab.hosts[0]
    host.start_keepalived()
    container = host.machine.container("c1")
    with host.make_command() as shibafu:
        (shibafu.conf_dir / "net.conflist").unlink()
        shibafu(
            "network create lan --bridge br0 --subnet 10.7.0.0/24 --ip-range 10.7.0.10-10.7.0.99 "
            "--gateway-ha vrrp --gateway-host-ip 10.7.0.2/24"
        )
        shibafu.connect("lan", container)
        file = host.file.with_name("shibafu-lan.conf")
        assert file.exists()
        wait_for(partial(_has_address, host, "10.7.0.1/32"))
        assert host.machine.addresses("br0") == {"10.7.0.1/32", "10.7.0.2/24"}
        shibafu("network check lan")
        shibafu(f"network disconnect lan {container.path}")
        assert file.exists()
        if is_removed:
            assert "conf.d/shibafu-lan.conf" in shibafu("network rm lan")
        else:
            alone = "networks: {lan: {bridge: br0, subnets: [10.7.0.0/24]}}"
            shibafu("network apply -f -", stdin=alone)
        assert not file.exists()
        wait_for(lambda: "br0" not in host.machine.links() or not _has_address(host, "10.7.0.1/32"))
