"""Ours beside the reference's plugins: each as the other's IPAM, and both on one host and store."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.libcni import CniTool
from e2e.machine import CNI_PATH, HOST, OUTSIDE, REFERENCE, Machine

# The reference's plugins first, where it has them; ours under their own names after it.
REFERENCE_FIRST = f"{REFERENCE}:{CNI_PATH}"
SUBNETS = [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd90::/64"}]]
BRIDGE: Mapping[str, object] = {
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": SUBNETS},
}
STATIC = {
    "type": "static",
    "addresses": [
        {"address": "10.90.0.9/24", "gateway": "10.90.0.1"},
        {"address": "fd90::9/64", "gateway": "fd90::1"},
    ],
}
# Notes that it was called, with what, and calls the reference's.
RECORDER = f"""#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>/run/recorder/calls
exec {REFERENCE}/host-local
"""


def _addresses(result: Mapping[str, list[Mapping[str, str]]]) -> list[str]:
    return [ip["address"].partition("/")[0] for ip in result["ips"]]


def test_our_bridge_takes_addresses_of_the_reference_s_static(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", dict(BRIDGE) | {"ipam": STATIC})
    machine.netns_add("c1")
    machine.serve("outside")
    assert _addresses(cnitool.add("net", "c1")) == ["10.90.0.9", "fd90::9"]
    assert [machine.fetch_seen_address(address, "c1") for address in OUTSIDE] == list(HOST)
    cnitool.check("net", "c1")
    cnitool.delete("net", "c1")


def test_our_bridge_passes_arguments_on_to_static(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", dict(BRIDGE) | {"ipam": {"type": "static"}})
    machine.netns_add("c1")
    args = "IgnoreUnknown=1;IP=10.90.0.7/24;GATEWAY=10.90.0.1"
    assert _addresses(cnitool.add("net", "c1", CNI_ARGS=args)) == ["10.90.0.7"]
    machine.run("ping", "-c1", "-W3", "10.90.0.1", netns="c1")
    cnitool.delete("net", "c1", CNI_ARGS=args)


def test_our_bridge_executes_another_host_local(machine: Machine, cnitool: CniTool) -> None:
    """What CNI_PATH finds first under the name is called, though ours would do."""
    machine.write("/run/recorder/host-local", RECORDER)
    (machine.root / "run/recorder/host-local").chmod(0o755)
    cnitool.env["CNI_PATH"] = f"/run/recorder:{CNI_PATH}"
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1")
    assert _addresses(cnitool.add("net", "c1", CNI_CONTAINERID="c1")) == ["10.90.0.2", "fd90::2"]
    cnitool.check("net", "c1", CNI_CONTAINERID="c1")
    cnitool.delete("net", "c1", CNI_CONTAINERID="c1")
    assert machine.read("/run/recorder/calls") == "ADD c1 eth0\nCHECK c1 eth0\nDEL c1 eth0\n"


@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param({"type": "ptp", "ipMasq": True}, id="ptp"),
        pytest.param({"type": "macvlan", "master": "uplink"}, id="macvlan"),
        pytest.param({"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True}, id="bridge"),
    ],
)
def test_our_ipam_serves_the_reference_s_plugins(
    machine: Machine, cnitool: CniTool, plugin: dict[str, object]
) -> None:
    cnitool.env["CNI_PATH"] = REFERENCE_FIRST
    # macvlan's containers are neighbours of the world outside.
    subnet = "198.51.100.0/24" if plugin["type"] == "macvlan" else "10.90.0.0/24"
    ipam = {
        "type": "shibafu-ipam",
        "ranges": [[{"subnet": subnet, "rangeStart": subnet.replace(".0/24", ".50")}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    machine.network_write("net", plugin | {"ipam": ipam})
    machine.netns_add("c1", "c2")
    machine.serve("outside")
    own = _addresses(cnitool.add("net", "c1"))[0]
    assert own.endswith(".50")
    assert _addresses(cnitool.add("net", "c2"))[0].endswith(".51")
    seen = own if plugin["type"] == "macvlan" else HOST[0]
    assert machine.fetch_seen_address(OUTSIDE[0], "c1") == seen
    for name in ("c1", "c2"):
        cnitool.check("net", name)
        cnitool.delete("net", name)


def test_one_store_serves_both_host_locals_at_the_same_time(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.run("mkdir", "/run/ipam")
    machine.run("ln", "-s", f"{REFERENCE}/host-local", "/run/ipam/host-local")
    paths = (CNI_PATH, f"/run/ipam:{CNI_PATH}")
    names = [f"c{i}" for i in range(10)]
    machine.netns_add(*names)

    def add(name: str) -> list[str]:
        return _addresses(cnitool.add("net", name, CNI_PATH=paths[int(name[1:]) % 2]))

    def exchange(name: str) -> None:
        cnitool.check("net", name, CNI_PATH=paths[1 - int(name[1:]) % 2])
        cnitool.delete("net", name, CNI_PATH=paths[1 - int(name[1:]) % 2])

    with ThreadPoolExecutor(len(names)) as pool:
        addresses = [address for found in pool.map(add, names) for address in found]
        assert len(set(addresses)) == len(machine.leases()) == 2 * len(names)
        list(pool.map(exchange, names))


def test_takes_the_reference_s_place_under_running_containers(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1", "c2", "c3")
    machine.serve("c1")
    machine.serve("outside")
    old = _addresses(cnitool.add("net", "c1", CNI_PATH=REFERENCE))
    cnitool.add("net", "c2", CNI_PATH=REFERENCE)
    new = _addresses(cnitool.add("net", "c3"))
    assert new == ["10.90.0.4", "fd90::4"]
    assert [machine.fetch_seen_address(address, "c3") for address in old] == new
    for name in ("c1", "c3"):
        assert [machine.fetch_seen_address(address, name) for address in OUTSIDE] == list(HOST)

    for name in ("c1", "c2", "c3"):
        cnitool.check("net", name)
    cnitool.delete("net", "c1")
    machine.netns_del("c2")
    cnitool.delete("net", "c2")
    assert [machine.fetch_seen_address(address, "c3") for address in OUTSIDE] == list(HOST)
    cnitool.delete("net", "c3")


def test_gives_its_place_back_to_the_reference(machine: Machine, cnitool: CniTool) -> None:
    """Without masquerading, containers may go on; docs/migrating.md says what to do before and after."""
    plugin = dict(BRIDGE) | {"ipMasq": False}
    machine.network_write("net", plugin)
    machine.netns_add("c1", "c2")
    cnitool.add("net", "c1")
    machine.serve("c1")
    assert _addresses(cnitool.add("net", "c2", CNI_PATH=REFERENCE)) == ["10.90.0.3", "fd90::3"]
    assert machine.fetch_seen_address("10.90.0.2", "c2") == "10.90.0.3"
    cnitool.check("net", "c1", CNI_PATH=REFERENCE)
    for name in ("c1", "c2"):
        cnitool.delete("net", name, CNI_PATH=REFERENCE)
    assert machine.leases() == []

    config = plugin | {"name": "net", "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
    env = {"CNI_COMMAND": "GC", "CNI_PATH": CNI_PATH}
    machine.run(f"{CNI_PATH}/shibafu-bridge", env=env, stdin=json.dumps(config))
