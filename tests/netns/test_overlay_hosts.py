"""Hosts that join and leave, and what reaches their containers."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, NETWORK, OverlayHost, OverlayLab, wait_until
from support.pings import Pings


def test_containers_of_three_hosts_reach_each_other(tmp_path: Path) -> None:
    with OverlayLab(tmp_path) as lab:
        lab.start()
        containers = [host.attach() for host in lab.hosts]
        for container in containers:
            for host in lab.hosts:
                container.run("ping", "-c1", "-w5", host.calc_container())
        # The largest packet fits.
        largest = str(int(lab.hosts[0].read_subnet("FLANNEL_MTU")) - 28)
        containers[0].run("ping", "-c1", "-w5", "-Mdo", "-s", largest, lab.hosts[1].calc_container())


@pytest.mark.long
def test_dual_stack(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2, DUAL_STACK) as lab:
        lab.start()
        first, second = lab.hosts
        container, _ = first.attach(), second.attach()
        assert first.read_subnet("FLANNEL_MTU") == "1430"
        for key, family in (("FLANNEL_SUBNET", "-4"), ("FLANNEL_IPV6_SUBNET", "-6")):
            wait_until(lambda: bool(first.read_subnet(key)), key)  # noqa: B023
            target = second.calc_container(key)
            overhead = 28 if family == "-4" else 48
            container.run("ping", family, "-c1", "-w5", "-Mdo", "-s", str(1430 - overhead), target)
        # The numbers of both subnets of a host are the same.
        for key in lab.list_keys():
            subnet, subnet6 = key.split("&")
            assert int(subnet.split(".")[2], 10) == int(subnet6.split(":")[3], 16)


@pytest.mark.long
def test_a_default_route_that_comes_later(tmp_path: Path) -> None:
    """As of a host whose agent starts before its DHCP client is done."""
    with OverlayLab(tmp_path, 2) as lab:
        first, second = lab.hosts
        second.configure(iface=None)
        second.start()
        wait_until(lambda: "no default route" in second.read_state().get("trouble", ""), "the trouble")
        # The kernel has no other news of the link than that route.
        tentative = ("ip", "-6", "address", "show", "tentative")
        wait_until(lambda: second.namespace.run(*tentative) == "", "addresses")
        time.sleep(0.5)
        second.namespace.run("ip", "route", "add", "default", "via", first.address)
        # It looks by itself every 30 seconds.
        wait_until(lambda: second.read_state()["state"] == "joined", "the state", 10)


@pytest.mark.long
def test_hosts_on_one_link_do_without_vxlan(tmp_path: Path) -> None:
    network = NETWORK | {"Backend": {"Type": "vxlan", "DirectRouting": True}}
    with OverlayLab(tmp_path, 2, network) as lab:
        for host in lab.hosts:
            host.start()
        first, second = lab.hosts

        def is_direct() -> bool:
            routes = first.namespace.run("ip", "route", "show", "proto", "91")
            return f"via {second.address} dev eth0" in routes

        wait_until(is_direct, "a direct route")
        wait_until(lambda: bool(second.namespace.run("ip", "route", "show", "proto", "91")), "another")
        container, _ = first.attach(), second.attach()
        container.run("ping", "-c1", "-w5", second.calc_container())
        assert not first.list_entries()
        # With a router in between it is VXLAN again.
        first.namespace.run("ip", "address", "del", f"{first.address}/24", "dev", "eth0")
        first.namespace.run("ip", "address", "add", f"{first.address}/32", "dev", "eth0")
        first.namespace.run("ip", "route", "add", "192.168.77.99", "dev", "eth0")
        first.namespace.run("ip", "route", "add", "192.168.77.0/24", "via", "192.168.77.99")
        wait_until(lambda: first.routes_to(second), "a route over VXLAN")
        assert not is_direct()


@pytest.mark.long
def test_join_and_leave_reach_other_hosts_soon(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2, DUAL_STACK | {"Network": "10.40.0.0/14"}) as lab:
        lab.start()
        second = lab.hosts[1]
        wait_until(lambda: second.count_routes() == 2, "both families")
        routes = second.count_routes()
        times = []
        for number in range(10):
            lab.put_hosts(range(1000 + number, 1001 + number))
            times.append(wait_until(lambda: second.count_routes() == routes + 2, "a route"))
            lab.remove_host(1000 + number)
            times.append(wait_until(lambda: second.count_routes() == routes, "no route"))
        assert sorted(times)[len(times) // 2] < 0.1


@pytest.mark.long
def test_a_host_that_is_removed_leaves_nothing(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2) as lab:
        lab.start()
        first, second = lab.hosts
        assert second.address in first.command("ls")
        said = second.command("rm", second.address, status=1)
        assert "whose agent is running and would join again" in said
        second.stop()
        assert "not running" in second.command("status", status=3)
        # It has only ended: all is as it was.
        assert second.routes_to(first)
        said = second.command("rm", second.address)
        assert "device flannel.1" in said
        wait_until(lambda: not first.routes_to(second), "the route")
        assert not second.list_entries()
        assert not second.subnet_file.exists()
        assert not second.read_state()
        assert "flannel" not in second.namespace.run("ip", "link")
        assert second.address not in first.command("ls")


def observe(host: OverlayHost) -> dict[str, object]:
    """Return all that an agent may change on a host."""
    commands = (
        "ip -br link",
        "ip -br address",
        "ip -4 route show table all",
        "ip -6 route show table all",
        "ip neighbour show nud permanent",
        "ip rule",
        "nft list ruleset",
        "sysctl net.ipv4.conf net.ipv6.conf net.ipv4.ip_forward",
    )
    found: dict[str, object] = {
        # Link-local addresses appear a second after a link.
        command: [line for line in host.namespace.run(*command.split()).splitlines() if "fe80:" not in line]
        for command in commands
    }
    state = Path("/run/shibafu/overlay")
    found["files"] = sorted(str(path) for path in state.glob(f"*{host.name}*")) if state.exists() else []
    return found | {"subnet file": host.subnet_file.exists()}


@pytest.mark.long
@pytest.mark.parametrize("is_direct", [False, True], ids=["VXLAN", "direct"])
def test_of_a_host_that_is_removed_nothing_is_left(tmp_path: Path, is_direct: bool) -> None:
    network = DUAL_STACK | {"Backend": {"Type": "vxlan", "DirectRouting": is_direct}}
    with OverlayLab(tmp_path, 2, network) as lab:
        first, second = lab.hosts
        before = observe(second)
        for host in lab.hosts:
            host.start()
        for host in lab.hosts:
            wait_until(lambda: host.count_routes() == 2, host.name, 30)  # noqa: B023
        assert observe(second) != before
        second.stop()
        second.command("rm", second.address)
        assert observe(second) == before
        wait_until(lambda: first.count_routes() == 0, "no routes to it")
        # The other host's network is its own.
        assert first.read_state()["state"] == "joined"


@pytest.mark.long
def test_restart_changes_nothing(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2) as lab:
        lab.start()
        first, second = lab.hosts
        container, _ = first.attach(), second.attach()
        keys, entries = lab.list_keys(), second.list_entries()
        with Pings(container, second.calc_container()) as pings, second.monitor() as announced:
            for number in (signal.SIGTERM, signal.SIGKILL):
                started = second.read_state()["started"]
                second.stop(number)
                second.start()
                wait_until(lambda: second.read_state().get("started", 0) > started, "a start")  # noqa: B023
                wait_until(lambda: second.read_state()["hosts"] == 2, "all hosts")
            time.sleep(0.2)
            # Link-local addresses, which nobody uses, appear a second after a device.
            assert [line for line in announced if "fe80:" not in line and "_lft " not in line] == []
        assert pings.lost == 0
        assert (lab.list_keys(), second.list_entries()) == (keys, entries)


@pytest.mark.long
def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 1) as lab:
        host = lab.hosts[0]
        host.start()
        wait_until(lambda: host.read_state().get("state") == "joined", "join")
        assert "another agent of the overlay is already running" in host.command("run", status=75)


@pytest.mark.long
def test_metrics_and_status(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2) as lab:
        lab.start()
        first = lab.hosts[0]
        wait_until(lambda: first.read_state().get("hosts") == 2, "two hosts")
        metrics = first.config.with_suffix(".prom").read_text()
        assert f'shibafu_overlay_joined{{network="{first.name}"}} 1' in metrics
        assert "shibafu_overlay_up 1" in metrics
        status = json.loads(first.command("status", "--format", "json"))
        assert status["running"]
        assert status["networks"][0]["subnet"] == first.read_subnet().replace(".1/", ".0/")
        first.stop()
        assert "shibafu_overlay_up 0" in first.config.with_suffix(".prom").read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("description", "trouble"),
    [
        (NETWORK | {"Network": "10.43.0.0/16"}, " of this host has VNI 1, too"),
        (
            NETWORK | {"Network": "10.42.0.0/17", "Backend": {"Type": "vxlan", "VNI": 2}},
            "10.42.0.0/17 overlaps 10.42.0.0/16 of network ",
        ),
    ],
    ids=["VNI", "addresses"],
)
def test_networks_that_collide_are_refused(
    tmp_path: Path, description: dict[str, object], trouble: str
) -> None:
    with OverlayLab(tmp_path, 1) as lab:
        host = lab.hosts[0]
        lab.etcd.ctl("put", "/other/config", json.dumps(description))
        (network,) = json.loads(host.config.read_text())["networks"]
        other = network | {
            "name": f"{host.name}-other",
            "prefix": "/other",
            "subnetFile": str(tmp_path / "other.env"),
        }
        # Of the first network etcd is heard later: its first endpoint is a host that is not there.
        network["endpoints"] = ["http://192.168.77.99:2379", *network["endpoints"]]
        host.config.write_text(json.dumps({"networks": [network, other]}))
        host.start()
        wait_until((tmp_path / "other.env").exists, "the second network to be joined")
        wait_until(lambda: trouble in host.command("status", status=None), "refusal")
        wait_until(lambda: host.read_state().get("state") == "joined", "the first network to be joined")
        states = json.loads(host.command("status", "--format", "json", status=None))["networks"]
        assert [state["state"] for state in states] == ["joined", "waiting"]
        assert trouble in states[1]["trouble"]
        assert "flannel.2" not in host.namespace.run("ip", "link")
        assert not (tmp_path / "other.env").exists()
        (address,) = re.findall(r"inet (\S+)/32", host.namespace.run("ip", "addr", "show", "flannel.1"))
        assert host.read_subnet() == f"{address[:-1]}1/24"


@pytest.mark.long
def test_a_network_with_the_hosts_address_is_refused(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 1, NETWORK | {"Network": "192.168.0.0/16"}) as lab:
        host = lab.hosts[0]
        host.start()
        said = "192.168.0.0/16 contains 192.168.77.11, an address of this host's eth0"
        wait_until(lambda: said in host.command("status", status=None), "refusal")
        assert host.read_subnet() == ""
        assert lab.list_keys() == {}
