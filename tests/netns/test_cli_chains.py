"""`shibafu network` with chains whose bridge is not their first plugin, such as Nomad's."""

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach

# The reference's other plugins.
_REFERENCE = "/usr/lib/cni"
_BRIDGE: dict[str, Any] = {
    "type": "bridge",
    "bridge": "jobs0",
    "isGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.69.0.0/24"}]]},
}
_PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
_CHAINS: dict[str, list[dict[str, Any]]] = {
    "nomad": [{"type": "loopback"}, _BRIDGE, {"type": "firewall", "backend": "iptables"}, _PORTMAP],
    "another-case": [{"Type": "loopback"}, _BRIDGE],
    "ipam-before": [{"type": "loopback", "ipam": {}}, _BRIDGE],
}


@pytest.fixture
def shibafu(shibafu: CommandLine) -> CommandLine:
    shibafu.env["CNI_PATH"] += f":{_REFERENCE}"
    return shibafu


@pytest.fixture
def web() -> Iterator[Namespace]:
    with Namespace("web") as namespace:
        yield namespace


@pytest.mark.parametrize("chain", _CHAINS)
def test_the_bridge_is_found_wherever_it_is(
    shibafu: CommandLine, host: Namespace, web: Namespace, chain: str
) -> None:
    conflist = {"cniVersion": "0.4.0", "name": "jobs", "plugins": _CHAINS[chain]}
    (shibafu.conf_dir / "10-jobs.conflist").write_text(dumps(conflist))
    # Before the bridge is there: only the file knows of it.
    assert "of network jobs" in shibafu.fail("network create other --subnet 10.69.0.0/24")
    assert "belongs to network jobs" in shibafu.fail("network create other --bridge jobs0")

    shibafu(f"network connect jobs {web.name}")
    _, row = shibafu("network ls").splitlines()
    assert row.split()[:4] == ["jobs", "jobs0", "(up)", "10.69.0.0/24"]
    (view,) = shibafu.json("network inspect jobs")
    assert view["bridge"]["name"] == "jobs0"
    assert [endpoint["state"] for endpoint in view["endpoints"]] == ["up"]
    shibafu("ipam reserve jobs 10.69.0.77")
    shibafu("ipam release jobs 10.69.0.77")
    shibafu("network check jobs")

    host.run("iptables", "-t", "nat", "-F")
    host.run("ip", "link", "del", "jobs0")
    shibafu("network repair jobs")
    assert can_reach(host, "10.69.0.1", web)
    assert "MASQUERADE" in host.run("iptables-save", "-t", "nat")

    shibafu(f"network disconnect jobs {web.name}")
    assert f"{shibafu.conf_dir}/10-jobs.conflist" in shibafu("network rm jobs")
    assert "jobs0" not in host.run("ip", "link")
    assert not (shibafu.store / "networks" / "jobs").exists()


def test_a_container_without_a_link_on_the_host_misses_none(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    host.run(*["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "outside"])
    plugin = {"type": "macvlan", "master": "uplink", "ipam": {"type": "host-local", "subnet": "10.70.0.0/24"}}
    conflist = {"cniVersion": "1.0.0", "name": "lan", "plugins": [plugin]}
    (shibafu.conf_dir / "10-lan.conflist").write_text(dumps(conflist))
    shibafu(f"network connect lan {web.name}")
    ((endpoint,),) = (view["endpoints"] for view in shibafu.json("network inspect lan"))
    assert (endpoint["state"], endpoint["hostLink"]) == ("no link on the host", "")
    assert f"- ──── eth0  {web.name}" in shibafu("network inspect lan")
    shibafu("network check lan")
    shibafu(f"network disconnect lan {web.name}")


def test_the_addresses_of_another_plugin_with_ipam_are_known(shibafu: CommandLine) -> None:
    plugins = [{"type": "loopback"}, _BRIDGE | {"type": "ptp"}]
    (shibafu.conf_dir / "line.conflist").write_text(
        dumps({"cniVersion": "1.0.0", "name": "line", "plugins": plugins})
    )
    _, row = shibafu("network ls").splitlines()
    assert row.split()[:3] == ["line", "-", "10.69.0.0/24"]
    assert "not created by a bridge plugin but by loopback, ptp" in shibafu.fail("network repair line")
    assert "of network line" in shibafu.fail("network create other --subnet 10.69.0.0/24")
