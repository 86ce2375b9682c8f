"""What a process of the engine makes of the end of a program."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import shibafu
import shibafu_ipam
from shibafu.engine.programs import SERVED
from shibafu.engine.worker import run_program


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [(None, 0, ""), (0, 0, ""), (3, 3, ""), (True, 1, ""), ("no such network", 1, "no such network\n")],
)
def test_exits_are_those_of_an_own_process(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int | str | None,
    status: int,
    said: str,
) -> None:
    program = ModuleType("program")
    program.main = lambda _env: sys.exit(code)  # type: ignore[attr-defined]  # what executables call
    monkeypatch.setitem(sys.modules, "program", program)
    assert run_program("program", {}) == status
    assert capsys.readouterr() == ("", said)


def test_plugins_take_their_environment_from_the_call() -> None:
    """`os.environ` is empty in the engine's processes, so only `skel.py`, which starts plugins, may read it.

    shibafu-hook is not a plugin, and has a start of its own.
    """
    own = {name.split(".")[1] for name in SERVED.values() if name.startswith("shibafu.")} - {"hook"}
    shared = {"cni", "lean", "netlink", "netfilter", "resource", "policy"}
    (suite,), (ipam,) = shibafu.__path__, shibafu_ipam.__path__
    roots = [Path(ipam), *(Path(suite, name) for name in own | shared)]
    files = [file for root in roots for file in root.rglob("*.py")]
    assert {file.name for file in files if "os.environ" in file.read_text()} == {"skel.py"}
