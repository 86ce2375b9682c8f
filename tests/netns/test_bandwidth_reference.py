"""shibafu-bandwidth beside the reference's: what both do alike, and containers that the latter limited."""

from copy import deepcopy
from typing import Any

import pytest

from netns.limited import REFERENCE, attach, detach, find_delay_links, find_port, read_filters, read_qdiscs
from shibafu.cni.names import calc_reference_ifb
from support.machine import Answer, Config, Machine
from support.remains import assert_clean
from support.throughput import MBIT, measure

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")

LIMITS: dict[str, Config] = {
    "ingress": {"ingressRate": 20 * MBIT, "ingressBurst": 2 * MBIT},
    "egress": {"egressRate": 10 * MBIT, "egressBurst": MBIT},
    "both": {
        "ingressRate": 20 * MBIT,
        "ingressBurst": 2 * MBIT,
        "egressRate": 10 * MBIT,
        "egressBurst": MBIT,
    },
    "bytes": {"ingressRate": 8, "ingressBurst": 8, "egressRate": 16, "egressBurst": 9},
    "odd": {
        "ingressRate": 1_234_567,
        "ingressBurst": 765_432,
        "egressRate": 999_999_999,
        "egressBurst": 12_345,
    },
    "fast": {"egressRate": 40_000 * MBIT, "egressBurst": 400 * MBIT},
    "by the runtime": {"runtimeConfig": {"bandwidth": {"ingressRate": 20 * MBIT, "ingressBurst": MBIT}}},
    "by CRI": {
        "runtimeConfig": {
            "bandwidth": {
                "IngressRate": 20 * MBIT,
                "IngressBurst": 4294967295,
                "EgressRate": 0,
                "EgressBurst": 0,
            }
        }
    },
    "stated, not by the runtime": {
        "ingressRate": 20 * MBIT,
        "ingressBurst": MBIT,
        "runtimeConfig": {"bandwidth": {"egressRate": 20 * MBIT, "egressBurst": MBIT}},
    },
    "none": {},
    "zero": {"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0},
    "null": {"runtimeConfig": {"bandwidth": None}},
}
REFUSED: dict[str, Config] = {
    "no rate": {"ingressBurst": 8000},
    "large burst": {"egressRate": 8000, "egressBurst": 8 * 0xFFFFFFFF},
    "no result before": {"ingressRate": 8000, "ingressBurst": 8000, "prevResult": None},
    "no interfaces": {
        "ingressRate": 8000,
        "ingressBurst": 8000,
        "prevResult": {"cniVersion": "1.0.0", "ips": []},
    },
    "links of others": {
        "ingressRate": 8000,
        "ingressBurst": 8000,
        "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth7"}]},
    },
}


def call_reference(machine: Machine, command: str, config: Config, container: str = "c1") -> Answer:
    own, machine.plugin = machine.plugin, REFERENCE
    answer = machine.call(command, config, container, CNI_PATH=str(REFERENCE.parent))
    machine.plugin = own
    return answer


def limit_by_reference(machine: Machine, container: str = "c1", **keys: Any) -> Config:
    """Have the reference limit a container; return the network for later calls, with the result."""
    config = attach(machine, container, **keys)
    answer = call_reference(machine, "ADD", config, container)
    assert answer.status == 0, answer
    return config | {"prevResult": answer.json}


def forget_names(result: Config) -> Config:
    """Return a result without what differs: the name of the link that delays, and `dns` where it is empty."""
    told = {key: value for key, value in deepcopy(result).items() if value}
    for interface in told["interfaces"]:
        if interface["name"].startswith("bwp"):
            assert interface.pop("mac")
            interface["name"] = "bwp"
    return told


@pytest.mark.parametrize("keys", LIMITS.values(), ids=LIMITS)
def test_the_same_is_made(machine: Machine, keys: Config) -> None:
    """Beginning with the answer, and to the numbers in the kernel; each one's CHECK is content with both."""
    config = attach(machine, **keys)
    port, seen = find_port(config), []
    for is_reference in (True, False):
        result = call_reference(machine, "ADD", config).json if is_reference else machine.add(config)
        made = config | {"prevResult": result}
        seen.append((forget_names(result), read_qdiscs(machine, port), len(find_delay_links(machine))))
        machine.check(made)
        machine.delete(made)
        assert find_delay_links(machine) == []
        assert read_qdiscs(machine, port) == []
    assert seen[0] == seen[1]


@pytest.mark.parametrize("keys", REFUSED.values(), ids=REFUSED)
def test_refusals_have_the_same_words(machine: Machine, keys: Config) -> None:
    config = {key: value for key, value in (attach(machine) | keys).items() if value is not None}
    reference = call_reference(machine, "ADD", config)
    assert reference.status == 1
    assert machine.fail(config)["msg"] == reference.json["msg"]


def test_its_check_is_content_with_ours(machine: Machine) -> None:
    """After a downgrade; it looks for a link of the name that it gives it."""
    config = attach(machine, **LIMITS["ingress"])
    assert call_reference(machine, "CHECK", config | {"prevResult": machine.add(config)}).status == 0


@pytest.mark.parametrize("keeps_result", [True, False])
@pytest.mark.parametrize("has_netns", [True, False])
def test_del(machine: Machine, keeps_result: bool, has_netns: bool) -> None:
    attached = limit_by_reference(machine, **LIMITS["both"])
    assert len(find_delay_links(machine)) == 1
    if not keeps_result:
        del attached["prevResult"]
    machine.delete(attached, **({} if has_netns else {"CNI_NETNS": ""}))
    assert find_delay_links(machine) == []
    detach(machine)
    assert_clean(machine)


def test_del_of_another_interface_leaves_its_link(machine: Machine) -> None:
    """The reference names it after the container alone."""
    attached = limit_by_reference(machine, **LIMITS["both"])
    other = attach(machine, ifname="eth1", **LIMITS["ingress"])
    machine.delete(other | {"prevResult": machine.add(other, ifname="eth1")}, ifname="eth1")
    machine.check(attached)


def test_check_and_change(machine: Machine) -> None:
    """Its link is taken over: it limits what it did, and then what another ADD says."""
    attached = limit_by_reference(machine, **LIMITS["both"])
    machine.check(attached)
    machine.host.run("ip", "link", "set", calc_reference_ifb("net", "c1"), "down")
    assert "is down" in machine.fail(attached, command="CHECK")["msg"]
    faster = attached | {"egressRate": 100 * MBIT}
    assert forget_names(machine.add(faster)) == forget_names(attached["prevResult"])
    machine.check(faster)
    assert find_delay_links(machine) == [calc_reference_ifb("net", "c1")]
    assert len(read_filters(machine, find_port(attached))) >= 1
    inside = machine.container()
    assert measure(inside, machine.host, "10.10.0.1", 100 * MBIT) == pytest.approx(1, abs=0.1)
    machine.delete(faster)
    assert find_delay_links(machine) == []


def test_gc(machine: Machine) -> None:
    """What containers used that are gone; those that are there, of whatever network, keep theirs."""
    for container in ("c1", "c2", "c3"):
        limit_by_reference(machine, container, **LIMITS["both"])
    detach(machine, "c1")
    kept = [calc_reference_ifb("net", container) for container in ("c2", "c3")]
    # Another network's reference is about to limit it.
    making = "bwp0123456789ab"
    machine.host.run("ip", "link", "add", making, "type", "ifb")
    config = {"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"}
    machine.collect_garbage(config, ("c3", "eth0"))
    assert sorted(find_delay_links(machine)) == sorted([*kept, making])
