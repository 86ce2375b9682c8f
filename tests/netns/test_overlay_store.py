"""etcd has lost its quorum, is slow, or was restored from a backup; containers notice nothing of it."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from netns.overlay_containers import containers_of
from netns.overlay_lab import NETWORK, SUBNETS, OverlayHost, OverlayLab, Pair, wait_until
from support.etcd import EtcdServer
from support.pings import Pings
from support.suite import Suite

pytestmark = pytest.mark.long


@contextmanager
def dropped(host: OverlayHost, *packets: str) -> Iterator[None]:
    """Have a host drop what it sends and what it gets."""
    rules = " ".join(f"{packet} drop;" for packet in packets)
    chains = (
        f"chain {hook} {{ type filter hook {hook} priority 0; {rules} }};" for hook in ("input", "output")
    )
    host.namespace.run("nft", f"table ip cut {{ {' '.join(chains)} }}")
    yield
    host.namespace.run("nft", "delete table ip cut")


def test_quorum_is_lost(suite: Suite, tmp_path: Path) -> None:
    """Of three members two are gone: the third one answers nothing, but listens."""
    with (
        OverlayLab(tmp_path, members=3) as lab,
        containers_of(suite, lab, tmp_path) as (first, second, third),
    ):
        lab.start()
        host = lab.hosts[0]
        old, _ = first.attach("old")
        _, target = second.attach("target")
        with Pings(old, target) as pings:
            lab.members[1].stop()
            lab.members[2].stop()
            wait_until(lambda: host.read_state()["trouble"] != "", "the outage", 30)
            # New containers, and an agent that is killed and starts without etcd.
            new, _ = first.attach("new")
            new.run("ping", "-c1", "-w5", target)
            assert first.call("STATUS", first.overlay).status == 0
            host.stop(signal.SIGKILL)
            host.start()
            entries = host.list_entries()
            _, far = third.attach("far")
            new.run("ping", "-c1", "-w5", far)
            assert host.list_entries() == entries
            lab.members[1].start()
            lab.join_by_hand("10.42.200.0")
            for other in lab.hosts:
                wait_until(lambda: other.has_route("10.42.200.0"), other.name, 30)  # noqa: B023
        assert pings.lost == 0
        wait_until(
            lambda: host.read_state()["state"] == "joined" and not host.read_state()["trouble"], "joined"
        )


def test_a_member_is_cut_off_from_the_others(tmp_path: Path) -> None:
    """It still listens; but has no leader, so that agents go to the next one."""
    with OverlayLab(tmp_path, members=3) as lab:
        lab.start()
        for host in lab.hosts:
            wait_until(lambda: host.read_state()["endpoint"] == lab.urls[0], host.name)  # noqa: B023
        with dropped(lab.hosts[0], "tcp sport 2380", "tcp dport 2380"):
            wait_until(lambda: lab.hosts[0].read_state()["endpoint"] != lab.urls[0], "another one", 30)
            lab.join_by_hand("10.42.200.0", member=1)
            for host in lab.hosts:
                wait_until(lambda: host.has_route("10.42.200.0"), host.name, 30)  # noqa: B023


@contextmanager
def slowed(etcd: EtcdServer) -> Iterator[None]:
    """Have etcd work for a fifth of the time, so that its answers come after up to 0.8 seconds."""
    is_over = Event()

    def slow() -> None:
        while not is_over.wait(0.2):
            etcd.pause()
            time.sleep(0.8)
            etcd.go_on()

    thread = Thread(target=slow)
    thread.start()
    yield
    is_over.set()
    thread.join()


def test_etcd_is_slow(pair: Pair, lab: OverlayLab) -> None:
    """Answers take long; then longer than an agent waits for them."""
    _, second, container = pair
    with Pings(container, second.calc_container()) as pings:
        with slowed(lab.etcd):
            started = second.read_state()["started"]
            second.stop()
            second.start()
            wait_until(lambda: second.read_state()["started"] > started, "a start", 30)
            wait_until(lambda: second.read_state()["state"] == "joined", "join", 30)
            lab.join_by_hand("10.42.200.0")
            wait_until(lambda: second.has_route("10.42.200.0"), "the first", 30)
        lab.etcd.pause()
        second.stop()
        second.start()
        wait_until(lambda: "cannot be reached: timed out" in second.read_state()["trouble"], "no answer", 30)
        lab.etcd.go_on()
        lab.join_by_hand("10.42.201.0")
        wait_until(lambda: second.has_route("10.42.201.0"), "the second", 30)
        wait_until(lambda: not second.read_state()["trouble"], "the end of the outage")
    assert pings.lost == 0


def test_etcd_is_restored_from_an_empty_backup(pair: Pair, lab: OverlayLab) -> None:
    """It knows neither host, and has a lower revision: both join again, and nobody is cut off."""
    _, second, container = pair
    keys = lab.list_keys()
    with Pings(container, second.calc_container()) as pings:
        lab.etcd.stop()
        lab.etcd.forget()
        lab.etcd.start()
        lab.etcd.ctl("put", "/coreos.com/network/config", json.dumps(NETWORK))
        wait_until(lambda: lab.list_keys() == keys, "the same keys", 20)
        time.sleep(0.5)
    assert pings.lost == 0
    assert "etcd was restored from a backup" in second.read_log()


def test_etcd_is_restored_from_a_backup(pair: Pair, lab: OverlayLab) -> None:
    """Of one host it has an address of yesterday, and one that has been removed since."""
    first, second, container = pair
    lab.join_by_hand("10.42.200.0")
    backup = lab.etcd.save()
    lab.etcd.ctl("del", f"{SUBNETS}/10.42.200.0-24")
    second.namespace.run("ip", "address", "del", f"{second.address}/24", "dev", "eth0")
    second.namespace.run("ip", "address", "add", "192.168.77.112/24", "dev", "eth0")
    wait_until(lambda: "192.168.77.112" in str(first.list_entries()), "the new address")
    keys = lab.list_keys()
    with Pings(container, second.calc_container()) as pings:
        lab.etcd.stop()
        lab.etcd.restore(backup)
        lab.etcd.start()
        wait_until(lambda: lab.list_keys().items() >= keys.items(), "the present keys", 20)
        for host in lab.hosts:
            wait_until(lambda: host.has_route("10.42.200.0"), host.name, 20)  # noqa: B023
    assert pings.lost == 0


def test_a_restored_store_has_overtaken_a_host(tmp_path: Path) -> None:
    """A host that has joined since, and was cut off, finds a higher revision than its own."""
    with OverlayLab(tmp_path, 2) as lab:
        first, second = lab.hosts
        first.start()
        wait_until(lambda: first.read_state().get("state") == "joined", "join")
        backup = lab.etcd.save()
        second.start()
        lab.wait_until_joined()
        keys = lab.list_keys()
        container, _ = first.attach(), second.attach()
        with Pings(container, second.calc_container()) as pings:
            with dropped(second, "tcp dport 2379", "tcp sport 2379"):
                lab.etcd.stop()
                lab.etcd.restore(backup)
                lab.etcd.start()
                for _ in range(10):
                    lab.etcd.ctl("put", "/other", "")
                wait_until(lambda: "cannot be reached" in second.read_state()["trouble"], "the partition", 30)
                assert lab.list_keys() != keys
            wait_until(lambda: lab.list_keys() == keys, "its key", 20)
        assert pings.lost == 0
