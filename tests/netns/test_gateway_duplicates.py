"""Addresses of a shared gateway that two hosts have at once: VRRP cannot tell, whoever asks for them can."""

from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_PACKET, SOCK_RAW, inet_aton, socket

import pytest

from netns.gateway_lab import GatewayLab, open_gateway_lab
from netns.watched import Watched, settle
from shibafu.watch.arp_probe import ArpProbe
from shibafu.watch.packet_filter import ANSWERS_AT_ONCE
from support.namespaces import Namespace
from support.suite import Suite
from support.waiting import wait_for

GATEWAY = "gateway 10.7.0.1 is also in use at the hardware address 02:00:00:00:00:02"


@pytest.fixture
def lab(suite: Suite, tmp_path: Path) -> Iterator[GatewayLab]:
    with open_gateway_lab(suite, tmp_path) as made:
        yield made


def _filter(lab: GatewayLab, verb: str) -> None:
    for host in lab.hosts:
        host.namespace.run("iptables", verb, "INPUT", "-p", "112", "-j", "DROP")


def _have_other_number(lab: GatewayLab) -> None:
    host = lab.hosts[1]
    host.machine.add(host.config | {"vrrpID": 1}, "other")


@pytest.mark.long
@pytest.mark.parametrize(
    ("split", "unite"),
    [
        pytest.param(lambda lab: _filter(lab, "-I"), lambda lab: _filter(lab, "-D"), id="dropped"),
        pytest.param(_have_other_number, None, id="other-numbers"),
    ],
)
def test_two_gateways_are_told(
    lab: GatewayLab, split: Callable[[GatewayLab], None], unite: Callable[[GatewayLab], None] | None
) -> None:
    """By the watcher, `network check` and `inspect`, with what to look for; nothing is done about it."""
    lab.start()
    first, second = lab.hosts
    metrics = first.directory / "metrics"
    with first.make_command() as shibafu:
        assert "hardware address" not in shibafu("network check net")
        assert shibafu.json("network inspect net")[0]["sharedGateway"]["duplicates"] == []
        with Watched(shibafu, "--metrics", str(metrics)) as watched:
            split(lab)
            wait_for(lambda: first.has_gateway() and second.has_gateway())
            line = watched.wait_for(GATEWAY)
            assert line.startswith("network net: ")
            assert "let protocol 112 through" in line
            assert 'the same "vrrpID" on both' in line
            told = [{"address": "10.7.0.1", "mac": "02:00:00:00:00:02", "gateway": True}]
            wait_for(lambda: shibafu.json("watch status")["gateways"][0]["duplicates"] == told)
            assert shibafu.json("network inspect net")[0]["sharedGateway"]["duplicates"] == told
            assert GATEWAY in shibafu("network inspect net")
            assert GATEWAY in str(shibafu.json("network check net", status=1))
            metric = 'shibafu_watch_gateway_duplicates{network="net"}'
            wait_for(lambda: f"{metric} 1\n" in metrics.read_text())
            if unite is not None:
                unite(lab)
                watched.wait_for("02:00:00:00:00:02 no longer answers for 10.7.0.1")
                wait_for(lambda: f"{metric} 0\n" in metrics.read_text())
            assert not any("healed" in line for line in watched.lines)


@pytest.mark.long
def test_a_gateway_that_moves_is_not_taken_for_two(lab: GatewayLab) -> None:
    """Nor is the answer of this host to its own containers."""
    lab.start()
    first, second = lab.hosts
    with (
        first.make_command() as one,
        second.make_command() as other,
        Watched(one) as own,
        Watched(other) as its,
    ):
        for host in (first, second):
            host.kill_keepalived()
            wait_for(lambda: first.has_gateway() and second.has_gateway())
            host.start_keepalived()
            wait_for(lambda: first.has_gateway() != second.has_gateway())
            first.machine.container("c1").run("ping", "-c4", "-i0.5", "-w9", "10.7.0.1")
        settle()
        assert not any("hardware address" in line for line in own.lines + its.lines)


@pytest.mark.long
def test_a_copied_address_of_a_host_is_told(lab: GatewayLab) -> None:
    """As of a configuration that was copied from one host to the other."""
    first, second = lab.hosts
    second.config["gatewayHostIP"] = first.config["gatewayHostIP"]
    for host in lab.hosts:
        host.start_keepalived()
        host.add()
    said = "this host's own address 10.7.0.2 is also in use at the hardware address 02:00:00:00:00:02"
    with first.make_command() as shibafu, Watched(shibafu) as watched:
        assert 'give each host a different "gatewayHostIP"' in watched.wait_for(said)
        assert said in str(shibafu.json("network check net", status=1))


def test_flood_of_answers_does_not_hold_the_watcher_up(host: Namespace) -> None:
    """A container that may send any frame could forge them faster than they are read."""
    host.run("ip", "link", "add", "one", "up", "type", "veth", "peer", "name", "other")
    host.run("ip", "link", "set", "other", "up")
    with host.enter():
        probe = ArpProbe("one", bytes(6), inet_aton("10.7.0.1"), is_port=False)
        with socket(AF_PACKET, SOCK_RAW) as sender:
            sender.bind(("other", 0))
            for number in range(ANSWERS_AT_ONCE + 10):
                mac = b"\2" + number.to_bytes(5, "big")
                answer = bytes.fromhex("08060001080006040002") + mac + inet_aton("10.7.0.1") + bytes(10)
                sender.send(b"\xff" * 6 + mac + answer)
    assert [len(probe.take_senders()) for _ in range(3)] == [ANSWERS_AT_ONCE, 10, 0]
    probe.close()
