"""What ADD, CHECK and DEL of shibafu-tuning may import; see test_bridge_import_budget.py."""

import os
from pathlib import Path

import pytest

from netns.tuned import MAC, Container
from support.imports import OS_MODULES, check_budget, measure

SETNS, LIBC = ("", "") if hasattr(os, "setns") else ("_ctypes", "libc")
BUDGETS = {
    "": f"_blake2 _json _socket _struct errno fcntl struct {SETNS} {' '.join(OS_MODULES)}",
    "shibafu.": "cni lean netlink resource tuning",
    "shibafu.cni.": "args boot config directories errors lock names request result skel version",
    "shibafu.lean.": "files ip json",
    "shibafu.netlink.": f"address codec constants errors inet link link_requests namespace socket {LIBC}",
    "shibafu.resource.": "base identity netns teardown transaction view",
    "shibafu.tuning.": "__main__ allowlist attributes backup config plan sysctls tuned_interface verbs",
}


@pytest.mark.parametrize("verb", ["ADD", "CHECK", "DEL"])
def test_a_call_imports_no_more(tmp_path: Path, verb: str) -> None:
    container = Container(tmp_path / "tuning")
    try:
        env = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": container.netns.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
        }
        config = {
            "cniVersion": "1.0.0",
            "name": "net",
            "type": "tuning",
            "mac": MAC,
            "sysctl": {"net.core.somaxconn": "77"},
            "dataDir": str(container.directory),
            "prevResult": container.result,
        }
        if verb != "ADD":
            measure(tmp_path / "report", "shibafu.tuning", env | {"CNI_COMMAND": "ADD"}, config)
        status, answer, modules = measure(tmp_path / "report", "shibafu.tuning", env, config)
    finally:
        container.close()
    assert status == 0, answer
    allowed = {prefix + name for prefix, names in BUDGETS.items() for name in names.split()} | {"shibafu"}
    check_budget(modules, allowed)
