"""`shibafu overlay ls`: which hosts answer through the overlay, however many there are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, OverlayHost, OverlayLab, wait_until
from shibafu.overlay.probing import probe_addresses
from support.namespaces import Namespace
from support.schemas import validated

pytestmark = pytest.mark.long


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OverlayLab]:
    network = DUAL_STACK | {"Network": "10.40.0.0/14"}
    with OverlayLab(tmp_path, 3, network) as made:
        made.start()
        for host in made.hosts:
            wait_until(lambda: host.read_state()["hosts"] == 3, "all hosts")  # noqa: B023
        yield made


def list_reachable(host: OverlayHost, key: str = "reachable") -> dict[str, bool | None]:
    """Return which hosts answer, by their addresses."""
    (network,) = validated("overlay ls", json.loads(host.command("ls", "--format", "json")))
    return {one["publicIP"]: one[key] for one in network["hosts"]}


def test_hosts_that_answer(lab: OverlayLab) -> None:
    first, second, third = lab.hosts
    assert list_reachable(second) == {first.address: True, second.address: None, third.address: True}
    shown = second.command("ls").splitlines()
    assert [line.split()[-1] for line in shown if first.address in line] == ["yes"]
    assert any(line.endswith("this host") and second.address in line for line in shown)
    # It answers by its own address, but not through the VXLAN.
    rule = "type filter hook input priority 0; udp dport 8472 drop;"
    third.namespace.run("nft", f"table ip cut {{ chain c {{ {rule} }}; }}")
    assert list_reachable(second)[third.address] is False
    # Nobody is asked who would be reached by another way.
    second.stop()
    second.namespace.run("ip", "route", "add", "default", "via", first.address)
    second.namespace.run("ip", "route", "del", first.read_subnet().replace(".1/", ".0/"))
    assert list_reachable(second)[first.address] is False
    second.command("rm", second.address)
    assert set(list_reachable(second).values()) == {None}


def test_ipv6_is_asked_too(lab: OverlayLab) -> None:
    """It has a device and a VXLAN of its own, by which other packets go."""
    first, second, third = lab.hosts
    for host in lab.hosts:
        host.attach()  # the bridge's gateway makes the first address an anycast one, too
    answers = {first.address: True, second.address: None, third.address: True}
    assert list_reachable(second, "reachable6") == answers
    rule = "type filter hook input priority 0; udp dport 8472 drop;"
    first.namespace.run("nft", f"table ip6 cut {{ chain c {{ {rule} }}; }}")
    third.namespace.run("nft", f"table ip cut {{ chain c {{ {rule} }}; }}")
    assert list_reachable(second) == answers | {third.address: False}
    assert list_reachable(second, "reachable6") == answers | {first.address: False}
    shown = second.command("ls")
    for host, word in ((first, "IPv4 only"), (third, "IPv6 only")):
        assert any(host.address in line and line.endswith(word) for line in shown.splitlines())
    # A host of flannel's without IPv6, in the same network.
    lab.join_by_hand("10.43.200.0", "192.168.77.99")
    wait_until(lambda: second.has_route("10.43.200.0"), "a route")
    assert list_reachable(second, "reachable6")["192.168.77.99"] is None


def test_hundreds_of_hosts_of_which_most_are_gone(lab: OverlayLab) -> None:
    first, second, third = lab.hosts
    # The subnets below are those that the three choose from.
    lab.put_hosts(range(110, 1010))
    wait_until(lambda: second.read_state()["hosts"] == 903, "all hosts")
    reachable = list_reachable(second)
    assert len(reachable) == 903
    assert {address for address, is_so in reachable.items() if is_so} == {first.address, third.address}


def test_those_that_do_not_answer_cost_one_wait(host: Namespace) -> None:
    """A link that leads nowhere: nobody says that a host is unreachable."""
    host.run("ip", "link", "add", "far", "type", "veth", "peer", "hole")
    host.run("ip", "link", "set", "hole", "up")
    host.run("ip", "link", "set", "far", "up")
    host.run("ip", "route", "add", "10.0.0.0/8", "dev", "far")
    host.run("ip", "link", "set", "lo", "up")
    nobody = [f"10.1.{number // 256}.{number % 256}" for number in range(300)]
    with host.enter():
        began = time.monotonic()
        assert probe_addresses([*nobody, "127.0.0.1"]) == {"127.0.0.1"}
        # One wait for each crowd would be five seconds.
        assert time.monotonic() - began < 4
