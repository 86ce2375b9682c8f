"""Addresses of a shared gateway that two hosts have at once: VRRP cannot tell, whoever asks for them can."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netns.gateway_lab import GatewayLab, open_gateway_lab
from netns.watched import Watched, settle
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.long
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
