"""What a process of the engine makes of the end of a program."""

import sys
from types import ModuleType

import pytest

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
    program.main = lambda: sys.exit(code)  # type: ignore[attr-defined]  # what executables call
    monkeypatch.setitem(sys.modules, "program", program)
    assert run_program("program") == status
    assert capsys.readouterr() == ("", said)
