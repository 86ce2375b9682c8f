"""Running the executables with nothing in their environment but what is stated."""

import subprocess
from json import loads
from pathlib import Path

from shibafu.engine.programs import REPLACED

PROGRAMS = sorted(REPLACED)


def run_plugin(*command: str | Path, stdin: bytes, **env: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a plugin with nothing but `env` in its environment."""
    done = subprocess.run(command, env=env, input=stdin, capture_output=True, check=False, timeout=300)
    assert done.stderr == b""
    return done


def ask_version(*command: str | Path, **env: str) -> bytes:
    """Return a plugin's answer to VERSION."""
    done = run_plugin(*command, stdin=b'{"cniVersion": "1.0.0"}', CNI_COMMAND="VERSION", **env)
    assert done.returncode == 0
    answer = loads(done.stdout)
    assert answer["cniVersion"] == "1.0.0"
    assert {"0.4.0", "1.0.0", "1.1.0"} <= set(answer["supportedVersions"])
    return done.stdout


def run_command(*command: str | Path, **env: str) -> str:
    """Run it with nothing but `env` in its environment and return what it prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
