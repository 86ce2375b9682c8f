"""Networks whose plugins libcni calls, as cnitool and all runtimes in Go do."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.libcni import CniTool
from e2e.machine import CNI_PATH, HOST, OUTSIDE, REFERENCE, Machine

V4 = {"subnet": "10.70.0.0/24"}
V6 = {"subnet": "fd70::/64"}
BRIDGE: Mapping[str, object] = {
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "hairpinMode": True,
    "ipam": {"type": "host-local", "ranges": [[V4], [V6]]},
}
PORTMAP: Mapping[str, object] = {"type": "portmap", "capabilities": {"portMappings": True}}
BANDWIDTH: Mapping[str, object] = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
TUNING: Mapping[str, object] = {
    "type": "tuning",
    "sysctl": {"net.core.somaxconn": "500"},
    "mac": "02:00:5e:10:00:09",
    "mtu": 1400,
}
RATES = {f"{way}{key}": 80_000_000 for way in ("ingress", "egress") for key in ("Rate", "Burst")}
FIREWALL: Mapping[str, object] = {"type": "firewall", "backend": "iptables"}


def test_attaches_containers_to_each_other_and_to_the_outside(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1", "c2")
    machine.serve("c2")
    machine.serve("outside")
    results = [cnitool.add("net", name) for name in ("c1", "c2")]

    first, second = ([ip["address"].partition("/")[0] for ip in result["ips"]] for result in results)
    assert (first, second) == (["10.70.0.2", "fd70::2"], ["10.70.0.3", "fd70::3"])
    assert machine.fetch_seen_address(second[0], "c1") == first[0]
    assert machine.fetch_seen_address(second[1], "c1") == first[1]
    assert machine.fetch_seen_address(OUTSIDE[0], "c1") == HOST[0]
    assert machine.fetch_seen_address(OUTSIDE[1], "c1") == HOST[1]
    for name in ("c1", "c2"):
        cnitool.check("net", name)
        cnitool.delete("net", name)


@pytest.mark.parametrize("others", ["ours", "the reference's"])
@pytest.mark.parametrize("version", [pytest.param("0.3.1", marks=pytest.mark.long), "0.4.0", "1.0.0"])
def test_precedes_plugins_in_a_chain(machine: Machine, cnitool: CniTool, version: str, others: str) -> None:
    cnitool.env["CNI_PATH"] = CNI_PATH if others == "ours" else f"{REFERENCE}:{CNI_PATH}"
    chain = [{**BRIDGE, "type": "shibafu-bridge"}, PORTMAP, BANDWIDTH, TUNING]
    if version != "0.3.1":  # firewall plugins do not speak it
        chain.append(FIREWALL)
    machine.network_write("net", *chain, version=version)
    machine.netns_add("c1")
    machine.serve("c1")
    port = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    asked = {"CAP_ARGS": json.dumps({"portMappings": [port], "bandwidth": RATES})}
    assert {"portMappings", "bandwidth"} <= set(cnitool.version("net", "c1"))

    result = cnitool.add("net", "c1", **asked)
    assert result["cniVersion"] == version
    assert [i["name"] for i in result["interfaces"]][::2] == ["cni0", "eth0"]
    assert [ip.get("version") for ip in result["ips"]] == ([None, None] if version == "1.0.0" else ["4", "6"])
    link = json.loads(machine.run("ip", "-json", "link", "show", "eth0", netns="c1"))[0]
    assert (link["address"], link["mtu"]) == (TUNING["mac"], TUNING["mtu"])
    for host, outside in zip(HOST, OUTSIDE, strict=True):
        assert machine.fetch_seen_address(host, "outside", port=8080) == outside
    # The container reaches its own published port, by the hairpin.
    assert machine.fetch_seen_address(HOST[0], "c1", port=8080) == "10.70.0.1"
    assert machine.fetch_seen_address("127.0.0.1", port=8080) == "10.70.0.1"

    # The reference's portmap looks for the rules of each family in the tables of both.
    checked = asked if others == "ours" else {"CAP_ARGS": json.dumps({"bandwidth": RATES})}
    if version == "0.3.1":
        assert "does not support the CHECK command" in cnitool.refuse("check", "net", "c1", **checked)
    else:
        cnitool.check("net", "c1", **checked)
    cnitool.delete("net", "c1", **asked)


def test_undoes_an_attachment_whose_chain_failed(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE, {"type": "tuning", "sysctl": {"kernel.hostname": "x"}})
    machine.netns_add("c1")
    assert "invalid net sysctl key" in cnitool.refuse("add", "net", "c1")
    assert machine.leases()
    cnitool.delete("net", "c1")
    assert machine.leftovers() == []

    machine.network_write("net", BRIDGE)
    assert cnitool.add("net", "c1")["ips"]
    cnitool.delete("net", "c1")


def test_refuses_to_attach_twice_and_keeps_the_first(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1")
    cnitool.add("net", "c1")
    leases = machine.leases()
    assert "already exists" in cnitool.refuse("add", "net", "c1")
    assert machine.leases() == leases
    cnitool.check("net", "c1")
    machine.run("ping", "-c1", "-W3", "10.70.0.1", netns="c1")
    cnitool.delete("net", "c1")


def test_deletes_without_namespace_and_twice(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1", "c2")
    for name in ("c1", "c2"):
        cnitool.add("net", name)
    machine.netns_del("c1")
    cnitool.delete("net", "c1")
    assert len(machine.records()) == 1
    cnitool.delete("net", "c1")
    cnitool.check("net", "c2")
    for _ in range(2):
        cnitool.delete("net", "c2")


def test_deletes_without_the_result_cache(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1")
    cnitool.add("net", "c1")
    machine.run("rm", "-r", "/var/lib/cni/results")
    machine.netns_del("c1")
    cnitool.delete("net", "c1")


def test_notices_damage(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    machine.netns_add("c1")
    cnitool.add("net", "c1")
    machine.run("iptables", "-t", "nat", "-F")
    assert cnitool.refuse("check", "net", "c1")
    cnitool.delete("net", "c1")


def test_honours_arguments_and_capabilities(machine: Machine, cnitool: CniTool) -> None:
    """Requests arrive in CNI_ARGS, as old runtimes send them, and as capabilities; libcni filters those."""
    capabilities = {"mac": True, "ips": True}
    machine.network_write("net", dict(BRIDGE) | {"capabilities": capabilities})
    machine.netns_add("c1", "c2")
    args = "IgnoreUnknown=1;K8S_POD_NAME=b;IP=10.70.0.77;MAC=02:00:5e:10:00:01"
    first = cnitool.add("net", "c1", CNI_ARGS=args)
    asked = {"mac": "02:00:5e:10:00:02", "ips": ["10.70.0.78", "fd70::78"], "dns": {"servers": ["192.0.2.1"]}}
    second = cnitool.add("net", "c2", CAP_ARGS=json.dumps(asked))
    assert [ip["address"] for ip in first["ips"]] == ["10.70.0.77/24", "fd70::2/64"]
    assert [ip["address"] for ip in second["ips"]] == ["10.70.0.78/24", "fd70::78/64"]
    assert [r["interfaces"][2]["mac"] for r in (first, second)] == ["02:00:5e:10:00:01", "02:00:5e:10:00:02"]
    for name in ("c1", "c2"):
        machine.run("ping", "-c1", "-W3", "10.70.0.1", netns=name)
        cnitool.delete("net", name)


def test_takes_the_capitalised_keys_of_kubernetes(machine: Machine, cnitool: CniTool) -> None:
    ranges = {"ipRanges": [[{"Subnet": "10.71.0.0/24", "RangeStart": "10.71.0.9"}]]}
    capable = {"ipam": {"type": "host-local"}, "capabilities": {"ipRanges": True}}
    machine.network_write("net", dict(BRIDGE) | capable)
    machine.netns_add("c1")
    result = cnitool.add("net", "c1", CAP_ARGS=json.dumps(ranges))
    assert [ip["address"] for ip in result["ips"]] == ["10.71.0.9/24"]
    cnitool.delete("net", "c1", CAP_ARGS=json.dumps(ranges))


def test_attaches_one_container_to_a_network_twice(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", dict(BRIDGE) | {"isDefaultGateway": False, "isGateway": True})
    machine.netns_add("c1")
    container = {"CNI_CONTAINERID": "pod1"}
    for ifname in ("eth0", "eth1"):
        cnitool.add("net", "c1", CNI_IFNAME=ifname, **container)
    cnitool.delete("net", "c1", CNI_IFNAME="eth0", **container)
    cnitool.check("net", "c1", CNI_IFNAME="eth1", **container)
    machine.run("ping", "-c1", "-W3", "-I", "eth1", "10.70.0.1", netns="c1")
    cnitool.delete("net", "c1", CNI_IFNAME="eth1", **container)


def test_attaches_many_containers_at_the_same_time(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", BRIDGE)
    names = [f"c{i}" for i in range(12)]
    machine.netns_add(*names)
    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(lambda name: cnitool.add("net", name), names))
        assert len({ip["address"] for result in results for ip in result["ips"]}) == 2 * len(names)
        list(pool.map(lambda name: cnitool.check("net", name), names))
        list(pool.map(lambda name: cnitool.delete("net", name), names))
