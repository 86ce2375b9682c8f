"""What an operation costs does not depend on how many leases there are: accesses to the disk are counted."""

import os
import subprocess
from json import dumps, loads
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from support.imports import check_budget, measure
from support.ipam import LIVING_NETNS, Ipam

_PROGRAM = """
import os, sys
sys.path[:0] = [{plugins!r}, {ipam!r}]
from io import BytesIO
from shibafu_ipam.__main__ import run

def call(command, container):
    env = dict(CNI_COMMAND=command, CNI_CONTAINERID=container, CNI_IFNAME="eth0", CNI_NETNS={netns!r})
    answer = BytesIO()
    assert run(env, BytesIO({stdin!r}), answer) == 0, answer.getvalue()

counted = None
def count(event, args):
    if counted is not None and (event == "open" or event.startswith("os.")):
        counted.append(event)

calls = (("ADD", "c1"), ("CHECK", "c1"), ("DEL", "c1"), ("DEL", "unknown"))
# Takes over the store, makes the files that the container's records will be in, and imports the modules.
for command, container in calls:
    call(command, container)
sys.addaudithook(count)
counts = {{}}
for command, container in calls:
    counted = []
    call(command, container)
    counts[command + " " + container], counted = counted, None
import json
print(json.dumps(counts))
"""

SUBNET = {"subnet": "10.1.0.0/19"}  # 8190 addresses, in one page of the bitmap


def count_accesses(ipam: Ipam) -> dict[str, list[str]]:
    """Return the names of all accesses to the disk of each call, in a fresh interpreter."""
    program = _PROGRAM.format(
        plugins=str(Path(shibafu.__path__[0]).parent),
        ipam=str(Path(shibafu_ipam.__path__[0]).parent),
        netns=LIVING_NETNS,
        stdin=dumps(ipam.document()).encode(),
    )
    done = subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", program], capture_output=True, check=True)
    counts: dict[str, list[str]] = loads(done.stdout)
    return counts


def fill(ipam: Ipam, count: int) -> None:
    ipam.directory.mkdir(parents=True)
    for n in range(2, 2 + count):
        ipam.write_lease(f"10.1.{n >> 8}.{n & 255}", f"other-{n}\r\neth0".encode())


@pytest.mark.parametrize("count", [5000, 8188])
def test_the_cost_does_not_grow(tmp_path: Path, count: int) -> None:
    """5000 leases; and all but one address taken, the free one being the last to be looked at."""
    empty, full = Ipam(tmp_path / "empty", SUBNET), Ipam(tmp_path / "full", SUBNET)
    fill(full, count)
    assert count_accesses(full) == count_accesses(empty)


def test_a_check_and_a_del_of_nothing_write_nothing(tmp_path: Path) -> None:
    counts = count_accesses(Ipam(tmp_path, SUBNET))
    for call in ("CHECK c1", "DEL unknown"):
        assert set(counts[call]) == {"open"}


OS = {"_collections_abc", "_stat", "genericpath", "os", "os.path", "posixpath", "stat"}
COMMON = OS | {
    "_blake2",
    "_json",
    "_socket",
    "errno",
    "fcntl",
    "shibafu",
    "shibafu.cni",
    "shibafu.cni.args",
    "shibafu.cni.config",
    "shibafu.cni.directories",
    "shibafu.cni.errors",
    "shibafu.cni.lock",
    "shibafu.cni.names",
    "shibafu.cni.request",
    "shibafu.cni.skel",
    "shibafu.cni.version",
    "shibafu.lean",
    "shibafu.lean.files",
    "shibafu.lean.ip",
    "shibafu.lean.json",
    "shibafu_ipam",
    "shibafu_ipam.__main__",
    "shibafu_ipam.config",
    "shibafu_ipam.index_records",
    "shibafu_ipam.store",
}
CHANGING = COMMON | {
    "shibafu.cni.boot",
    "shibafu_ipam.bitmap",
    "shibafu_ipam.index",
    "shibafu_ipam.lease_table",
}
ADD = CHANGING | {
    *({"_ctypes", "shibafu.netlink.libc"} if not hasattr(os, "setns") else ()),
    "shibafu.netlink",
    "shibafu.netlink.constants",
    "shibafu.netlink.namespace",
    "shibafu.resource",
    "shibafu.resource.identity",
    "shibafu.cni.result",
    "shibafu_ipam.add",
    "shibafu_ipam.allocator",
    "shibafu_ipam.liveness",
    "shibafu_ipam.ranges",
}


@pytest.mark.parametrize(
    ("command", "container", "allowed"),
    [
        ("ADD", "c2", ADD),
        ("DEL", "c1", CHANGING | {"shibafu_ipam.delete"}),
        ("CHECK", "c1", COMMON | {"shibafu_ipam.check", "shibafu_ipam.ranges"}),
    ],
)
def test_the_import_budget(tmp_path: Path, command: str, container: str, allowed: set[str]) -> None:
    ipam = Ipam(tmp_path / "networks")
    ipam.add("c1")
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0"}
    env["CNI_NETNS"] = LIVING_NETNS
    status, _, modules = measure(tmp_path / "report", "shibafu_ipam", env, ipam.document())
    assert status == 0
    check_budget(modules, allowed)
