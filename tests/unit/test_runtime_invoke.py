"""Calling one plugin: what it prints, and what goes wrong with programs."""

import os
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from shibafu.cni.errors import DELEGATE, TRY_AGAIN_LATER, CniError
from shibafu.runtime.invoke import invoke_plugin


def write(tmp_path: Path, script: str) -> str:
    path = tmp_path / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_printed_is_nothing(tmp_path: Path) -> None:
    assert invoke_plugin(write(tmp_path, "true"), {}, {}) is None


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ('echo \'{"code": 7, "msg": "no"}\'; exit 1', 7, "^no$"),
        ("echo oops; exit 3", DELEGATE, "failed with status 3 without an error object"),
        ("kill -9 $$", DELEGATE, "killed by signal 9"),
        ("echo oops", DELEGATE, "did not answer ADD with a JSON object"),
    ],
)
def test_failures(tmp_path: Path, script: str, code: int, message: str) -> None:
    with pytest.raises(CniError, match=message) as refusal:
        invoke_plugin(write(tmp_path, script), {"CNI_COMMAND": "ADD"}, {})
    assert refusal.value.code == code


def test_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "plugin").write_text("text")
    with pytest.raises(CniError, match=r"cannot execute plugin .*: Permission denied"):
        invoke_plugin(str(tmp_path / "plugin"), {}, {})


def test_waits_for_who_is_installing_it(tmp_path: Path) -> None:
    path = write(tmp_path, "echo '{}'")
    writer = os.open(path, os.O_WRONLY)

    def finish() -> None:
        sleep(0.2)
        os.close(writer)

    Thread(target=finish).start()
    assert invoke_plugin(path, {}, {}) == {}


def test_a_plugin_that_hangs_is_ended(tmp_path: Path) -> None:
    path = write(tmp_path, f"echo $$ >{tmp_path}/pid; sleep 600")
    with pytest.raises(CniError, match=r'plugin "plugin" did not answer DEL within 0\.3 seconds') as refusal:
        invoke_plugin(path, {"CNI_COMMAND": "DEL", "PATH": "/bin"}, {}, patience=0.3)
    assert refusal.value.code == TRY_AGAIN_LATER
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
