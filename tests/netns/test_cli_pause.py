"""`shibafu network pause`, `resume` and `down`: what is done on purpose is not undone."""

import fcntl
import os
import random
import time
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from netns.blue_network import BlueNetwork
from shibafu.cni.names import calc_host_veth
from support.namespaces import Namespace
from support.traffic import can_reach
from support.waiting import wait_for

RULES = ("iptables-save", "ip6tables-save", "nft -s list ruleset")


@pytest.fixture
def late() -> Iterator[Namespace]:
    """A third container, which is attached during a pause."""
    with Namespace("late") as namespace:
        yield namespace


def find_file(network: BlueNetwork) -> Path:
    """Return the file that a pause is kept in."""
    return network.shibafu.records / "blue" / "paused"


def find_port(container: Namespace) -> str:
    return calc_host_veth("blue", container.name, "eth0")


def read_rules(host: Namespace) -> list[str]:
    """Return all rules that there are, without their counters."""
    return [line for tool in RULES for line in host.run(*tool.split()).splitlines() if line[:1] not in "#:"]


# Beginning and end


def test_a_pause_is_shown_until_it_is_resumed(network: BlueNetwork) -> None:
    network.create()
    assert network.shibafu.json("network inspect blue")[0]["paused"] is None
    before = int(time.time())
    assert "blue: paused until " in network.shibafu("network pause blue --for 1h")
    (view,) = network.shibafu.json("network ls")
    assert view["paused"] == network.shibafu.json("network inspect blue")[0]["paused"]
    assert before <= view["paused"]["since"] == view["paused"]["until"] - 3600 <= time.time()
    assert view["paused"]["by"] == "root"
    assert "br-blue (up, paused until " in network.shibafu("network ls")
    assert "paused until " in network.shibafu("network inspect blue")
    assert find_file(network).stat().st_mode & 0o777 == 0o600
    assert "blue: resumed" in network.shibafu("network resume blue")
    assert network.shibafu.json("network ls")[0]["paused"] is None
    assert not find_file(network).exists()


def test_one_is_replaced_by_another(network: BlueNetwork) -> None:
    network.create()
    network.shibafu("network pause blue --for 1h")
    (pause,) = network.shibafu.json("network pause blue")["paused"]
    assert (pause["network"], pause["pause"]["until"]) == ("blue", None)
    assert network.shibafu.json("network ls")[0]["paused"]["until"] is None


def test_resuming_what_is_not_paused_repairs_it(network: BlueNetwork) -> None:
    network.create()
    network.host.run("ip", "link", "del", "br-blue")
    resumed = network.shibafu.json("network resume blue")
    assert resumed["resumed"] == []
    assert all(fault["repaired"] for fault in resumed["faults"])
    network.check()


@pytest.mark.parametrize("word", ["pause", "down", "resume"])
def test_an_unknown_network(network: BlueNetwork, word: str) -> None:
    network.create()
    said = network.shibafu.fail(f"network {word} green")
    assert said.splitlines()[0].startswith("shibafu: there is no network green in ")
    assert "existing networks: blue" in said


@pytest.mark.parametrize("word", ["pause", "down"])
def test_a_network_without_containers(network: BlueNetwork, word: str) -> None:
    network.shibafu("network create blue --subnet 10.66.0.0/24")
    said = network.shibafu.fail(f"network {word} blue")
    assert "network blue has no containers, so there is nothing to pause" in said
    assert not find_file(network).parent.exists()


@pytest.mark.parametrize("duration", ["0s", "", "1", "h", "-1h", "1h1", "9999d", "1w", "1e3s"])
def test_a_wrong_time(network: BlueNetwork, duration: str) -> None:
    said = network.shibafu.run("network", "pause", "blue", f"--for={duration}", status=2)[1]
    assert "is not a time from 1s to 365d, such as 90s, 30m, 1h30m or 2d" in said


# What it is for


def break_everything(network: BlueNetwork) -> None:
    host = network.host
    host.run("ip", "link", "set", find_port(network.web), "nomaster")
    host.run("ip", "link", "del", "br-blue")
    host.run("nft", "flush", "ruleset")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")


@pytest.mark.parametrize("backend", [pytest.param("iptables", marks=pytest.mark.long), "nftables"])
def test_nothing_comes_back_before_it_is_resumed(network: BlueNetwork, late: Namespace, backend: str) -> None:
    network.create("--driver-opt", f"ipMasqBackend={backend}", "--ipv6")
    network.shibafu("network pause blue")
    break_everything(network)
    network.shibafu(f"network connect blue {late.name}")
    said = network.shibafu.run("network", "repair", status=1)[0]
    assert "network blue is paused by root since " in said
    assert "`shibafu network resume blue` ends that and repairs it" in said
    assert "bridge br-blue is missing" in said
    report = network.shibafu.json("network repair blue", status=1)
    assert report["paused"] == ["blue"]
    assert not any(fault["repaired"] for fault in report["faults"])
    assert "br-blue" not in network.host.run("ip", "link")
    assert read_rules(network.host) == []
    assert network.host.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"
    assert not can_reach(network.db, "10.66.0.3", network.web)
    faults = network.shibafu.json("network resume blue")["faults"]
    assert "bridge br-blue is missing" in [fault["what"] for fault in faults]
    assert all(fault["repaired"] for fault in faults)
    network.check()
    assert can_reach(late, "10.66.0.4", network.db)


def test_what_is_whole_works_for_a_new_container(network: BlueNetwork, late: Namespace) -> None:
    network.create()
    rules = read_rules(network.host)
    network.shibafu("network pause blue")
    network.shibafu(f"network connect blue {late.name}")
    assert can_reach(late, "10.66.0.4", network.db)
    assert can_reach(network.host, "10.66.0.1", late)
    assert read_rules(network.host) == rules
    assert network.shibafu.json("network resume blue")["faults"] == []


def test_what_is_changed_stays_changed(network: BlueNetwork, late: Namespace) -> None:
    """Not only what is removed."""
    network.create()
    network.shibafu("network pause blue")
    network.host.run("ip", "addr", "del", "10.66.0.1/24", "dev", "br-blue")
    network.host.run("ip", "link", "set", "br-blue", "group", "0")
    network.host.run("iptables", "-t", "nat", "-F")
    rules = read_rules(network.host)
    network.shibafu(f"network connect blue {late.name}")
    assert "10.66.0.1" not in network.host.run("ip", "addr", "show", "br-blue")
    assert read_rules(network.host) == rules
    network.shibafu("network resume blue")
    network.check()


def test_a_time_that_is_over(network: BlueNetwork) -> None:
    network.create()
    network.shibafu("network pause blue --for 2s")
    network.host.run("ip", "link", "del", "br-blue")
    assert network.shibafu.json("network repair", status=1)["paused"] == ["blue"]
    wait_for(lambda: network.shibafu.json("network ls")[0]["paused"] is None)
    report = network.shibafu.json("network repair")
    assert report["paused"] == []
    assert all(fault["repaired"] for fault in report["faults"])
    network.check()


def test_other_networks_are_repaired(network: BlueNetwork, late: Namespace) -> None:
    network.create()
    network.shibafu("network create green --subnet 10.67.0.0/24")
    network.shibafu(f"network connect green {late.name}")
    network.shibafu("network pause blue")
    for bridge in ("br-blue", "br-green"):
        network.host.run("ip", "link", "set", bridge, "down")
    faults = network.shibafu.json("network repair", status=1)["faults"]
    assert {fault["network"]: fault["repaired"] for fault in faults} == {"blue": False, "green": True}
    assert can_reach(network.host, "10.67.0.1", late)


# Down


@pytest.mark.parametrize("stack", [pytest.param("", marks=pytest.mark.long), "--ipv6"])
def test_down_and_up(network: BlueNetwork, late: Namespace, stack: str) -> None:
    network.create(stack)
    (before,) = loads(network.host.run("ip", "-j", "addr", "show", "br-blue"))
    assert "blue: bridge br-blue is down, paused" in network.shibafu("network down blue")
    assert not can_reach(network.db, "10.66.0.3", network.web)
    begin = time.monotonic()
    network.shibafu(f"network connect blue {late.name}")
    assert time.monotonic() - begin < 2  # it does not wait for a bridge that is down on purpose
    assert network.shibafu.json("network ls")[0]["bridge"]["state"] == "down"
    assert network.shibafu.json("network repair", status=1)["paused"] == ["blue"]
    network.shibafu("network resume blue")
    network.check()
    assert can_reach(late, "10.66.0.4", network.db)
    (after,) = loads(network.host.run("ip", "-j", "addr", "show", "br-blue"))
    assert _list_addresses(after) == _list_addresses(before)


def _list_addresses(link: dict[str, list[dict[str, str]]]) -> set[str]:
    return {address["local"] for address in link["addr_info"]}


def test_a_bridge_that_others_need_is_not_set_down(network: BlueNetwork, late: Namespace) -> None:
    network.create()
    network.shibafu("network create green --subnet 10.67.0.0/24")
    file = network.shibafu.conf_dir / "green.conflist"
    config = loads(file.read_text())
    config["plugins"][0] |= {"bridge": "br-blue", "isGateway": False, "isDefaultGateway": False}
    file.write_text(dumps(config))
    network.shibafu(f"network connect green {late.name}")
    said = network.shibafu.fail("network down blue")
    assert "containers of network green are on bridge br-blue as well" in said
    assert network.shibafu.json("network ls")[0]["paused"] is None
    network.check()
    network.shibafu("network pause green")
    network.shibafu("network down blue")
    assert not can_reach(network.db, "10.66.0.3", network.web)
    network.shibafu("network resume blue green")
    network.check()


# The end of what it is about


def test_the_last_container_takes_it_along(network: BlueNetwork) -> None:
    network.create()
    network.shibafu("network down blue")
    network.shibafu(f"network disconnect blue {network.web.name}")
    assert find_file(network).exists()
    network.shibafu(f"network disconnect blue {network.db.name}")
    assert not find_file(network).parent.exists()
    assert not [line for line in read_rules(network.host) if "blue" in line]
    for container in (network.web, network.db):
        network.shibafu(f"network connect blue {container.name}")
    assert can_reach(network.db, "10.66.0.5", network.web)


def test_the_network_takes_it_along(network: BlueNetwork) -> None:
    network.create()
    network.shibafu("network pause blue")
    break_everything(network)
    network.shibafu("network rm --force blue")
    assert not find_file(network).parent.exists()
    network.create()


def test_what_a_killed_call_leaves_is_no_pause(network: BlueNetwork) -> None:
    """One that was removing the last container."""
    network.create()
    network.shibafu("network pause blue")
    content = find_file(network).read_bytes()
    for container in (network.web, network.db):
        network.shibafu(f"network disconnect blue {container.name}")
    find_file(network).parent.mkdir(mode=0o700, parents=True)
    find_file(network).write_bytes(content)
    for container in (network.web, network.db):
        network.shibafu(f"network connect blue {container.name}")
    assert not find_file(network).exists()
    assert can_reach(network.db, "10.66.0.5", network.web)


@pytest.mark.long
def test_killed_at_any_moment(network: BlueNetwork) -> None:
    """It is paused or it is not, and the next word is obeyed."""
    network.create()
    for word in ("pause", "down", "resume") * 5:
        process = network.shibafu.start("network", word, "blue")
        time.sleep(random.uniform(0.1, 0.8))
        process.kill()
        process.communicate()
        (view,) = network.shibafu.json("network ls")
        is_recorded = find_file(network).exists() and bool(find_file(network).read_bytes())
        assert is_recorded == (view["paused"] is not None)
        network.shibafu("network resume blue")
        network.check()


def test_a_call_that_is_at_work_is_waited_for(network: BlueNetwork) -> None:
    """One that has looked whether the network is paused: its claim is what tells."""
    network.create()
    port = find_port(network.web)
    number = os.stat(network.host.path).st_ino
    with open(f"/run/shibafu/locks/{port}-{number}", "w") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = network.shibafu.start("network", "pause", "blue")
        wait_for(find_file(network).exists)
        time.sleep(0.3)
        assert process.poll() is None
    assert "blue: paused" in process.communicate()[0]
