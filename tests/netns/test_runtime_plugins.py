"""The runtime with the plugins themselves: what it leaves in the kernel, and what it does not."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.runtime.cache import cache_list
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import NetworkList, parse_conflist
from support.machine import SYSTEM_PATH, Machine

REFERENCE = "/usr/lib/cni"


@pytest.fixture
def runtime(machine: Machine, tmp_path: Path) -> Iterator[Runtime]:
    """Call plugins in the machine's host namespace."""
    runtime = Runtime(
        [machine.cni_path, REFERENCE],
        cache_dir=str(tmp_path / "results"),
        conf_dir=str(tmp_path / "conf"),
        env={"PATH": SYSTEM_PATH},
        lock_dir=str(tmp_path / "locks"),
    )
    with machine.host.enter():
        yield runtime


def network(machine: Machine, *chained: dict[str, Any], subnet: str = "10.10.0.0/24") -> NetworkList:
    plugin = machine.config(subnet)
    del plugin["name"], plugin["cniVersion"]
    document = {"cniVersion": "1.1.0", "name": "net", "plugins": [plugin, *chained]}
    return parse_conflist(json.dumps(document).encode(), "test")


def test_add_check_delete(machine: Machine, runtime: Runtime) -> None:
    before = machine.snapshot()
    net = network(machine)
    path = machine.container().path
    result = runtime.add(net, "c1", path, "eth0", args={"IgnoreUnknown": "1", "IP": "10.10.0.7"})
    assert machine.addresses("eth0", machine.container()) == {"10.10.0.7/24"}
    runtime.check(net, "c1", path, "eth0")
    machine.container().run("ip", "addr", "flush", "dev", "eth0")
    with pytest.raises(CniError, match=r'plugin type="bridge" failed \(check\)'):
        runtime.check(net, "c1", path, "eth0")
    runtime.delete(net, "c1", "", "eth0")
    runtime.delete(net, "c1", "", "eth0")
    after = machine.snapshot()
    # The bridge of the network stays, as the reference's does.
    assert {key: after[key] for key in ("rules", "leases", "records", "containers")} == {
        key: before[key] for key in ("rules", "leases", "records", "containers")
    }
    assert result["cniVersion"] == "1.1.0"


def test_a_chain_that_fails_leaves_nothing(machine: Machine, runtime: Runtime) -> None:
    net = network(machine, {"type": "tuning", "sysctl": {"kernel.hostname": "x"}})
    with pytest.raises(CniError, match=r'plugin type="tuning" failed \(add\)'):
        runtime.add(net, "c1", machine.container().path, "eth0")
    assert (machine.leases(), machine.remembered(), machine.rules()) == (set(), set(), [])
    assert set(machine.links(machine.container())) == {"lo"}
    assert cache_list(directory=runtime.cache_dir) == []


def test_many_containers_at_once(machine: Machine, runtime: Runtime) -> None:
    net = network(machine)
    paths = {f"c{number}": machine.container(f"c{number}").path for number in range(8)}

    def come_and_go(name: str) -> str:
        with machine.host.enter():
            result: Any = runtime.add(net, name, paths[name], "eth0")
            runtime.check(net, name, paths[name], "eth0")
            return str(result["ips"][0]["address"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(come_and_go, paths))) == 8
    assert len(cache_list("net", directory=runtime.cache_dir)) == 8
    runtime.gc(net, [("c3", "eth0")])
    assert [attachment.container_id for attachment in cache_list(directory=runtime.cache_dir)] == ["c3"]
    assert len(machine.leases()) == 1
    runtime.gc(net, [])
    assert (machine.leases(), machine.remembered(), machine.rules()) == (set(), set(), [])


def test_gc_frees_what_no_cache_knows(machine: Machine, runtime: Runtime) -> None:
    """As after a kill between the plugin's end and the cache."""
    net = network(machine)
    runtime.add(net, "c1", machine.container().path, "eth0")
    (Path(runtime.cache_dir) / "net-c1-eth0").unlink()
    runtime.gc(net, [])
    assert (machine.leases(), machine.remembered(), machine.rules()) == (set(), set(), [])


def test_status_tells_of_an_exhausted_pool(machine: Machine, runtime: Runtime) -> None:
    net = network(machine, subnet="10.10.0.0/30")
    runtime.status(net)
    runtime.add(net, "c1", machine.container().path, "eth0")
    with pytest.raises(CniError, match=r'plugin type="bridge" failed \(status\)') as refusal:
        runtime.status(net)
    assert refusal.value.code == NOT_AVAILABLE
    runtime.delete(net, "c1", "", "eth0")
