"""VERSION imports what plugins/shibafu/engine/imports.py says, and a call that is refused hardly more.

The verbs that need network namespaces are in tests/netns/test_bridge_import_budget.py.
"""

import subprocess
from pathlib import Path

import pytest

import shibafu
from shibafu.engine.imports import calc_version_imports
from shibafu.engine.programs import REPLACED, SERVED
from support.imports import FORBIDDEN, INTERPRETER, check_budget, measure

MODULES = [SERVED[plugin].removesuffix(".__main__") for plugin in REPLACED]
CONFIG: dict[str, object] = {"cniVersion": "1.1.0", "name": "net", "type": "bridge"}


@pytest.mark.parametrize("module", MODULES)
def test_version(module: str, tmp_path: Path) -> None:
    status, answer, modules = measure(tmp_path / "report", module, {"CNI_COMMAND": "VERSION"}, CONFIG)
    assert status == 0
    assert '"supportedVersions"' in answer
    check_budget(modules, calc_version_imports(module))


@pytest.mark.parametrize("module", MODULES)
def test_a_bad_environment(module: str, tmp_path: Path) -> None:
    status, answer, modules = measure(tmp_path / "report", module, {"CNI_COMMAND": "ADD"}, CONFIG)
    assert status == 1
    assert "required env variables" in answer
    request = {"_blake2", "shibafu.cni.names", "shibafu.cni.request"}
    check_budget(modules, calc_version_imports(module) | request)


def test_the_monitor_is_small() -> None:
    """There is one for each container in the background, for as long as that runs."""
    plugins = str(Path(shibafu.__path__[0]).parent)
    importing = "import shibafu.monitor.__main__; print(*sys.modules)"
    source = f"import sys; sys.path.insert(0, {plugins!r}); {importing}"
    done = subprocess.run([*INTERPRETER, "-c", source], capture_output=True, text=True, check=True)
    modules = {name for name in done.stdout.split() if name.split(".")[0] in FORBIDDEN | {"shibafu"}}
    assert modules == {
        "shibafu",
        "shibafu.cni",
        "shibafu.cni.errors",
        "shibafu.cni.directories",
        "shibafu.lean",
        "shibafu.lean.files",
        "shibafu.lean.json",
        "shibafu.lean.subprocess",
        "shibafu.monitor",
        "shibafu.monitor.__main__",
        "shibafu.monitor.runc_error",
        "shibafu.monitor.log_writer",
        "shibafu.netlink",
        "shibafu.netlink.libc",
    }
