"""The command `shibafu` on a machine, as it is shipped."""

import json
import shlex
from subprocess import CompletedProcess, Popen
from typing import Any

from e2e.machine import CNI_PATH, Machine
from support.schemas import validated

# Where a machine can write without an overlay below: containers bring one of their own.
DATA_DIR = "/run/shibafu-data"


class Command:
    """Runs the command.

    Args:
        machine: where.
        argv: how it is called.
    """

    def __init__(self, machine: Machine, argv: list[str]) -> None:
        self._machine = machine
        self._env = {
            "CNI_PATH": CNI_PATH,
            "SHIBAFU_DATA_DIR": DATA_DIR,
            "SHIBAFU_CGROUP_PARENT": machine.cgroup,
        }
        self.argv = argv

    def try_run(self, line: str) -> "CompletedProcess[str]":
        """Run a line that may fail."""
        done = self._machine.try_run(*self.argv, *shlex.split(line), env=self._env)
        assert "Traceback" not in done.stderr
        return done

    def start(self, line: str) -> "Popen[str]":
        """Begin to run a line."""
        env = [f"{key}={value}" for key, value in self._env.items()]
        return self._machine.start("env", *env, *self.argv, *shlex.split(line))

    def __call__(self, line: str) -> str:
        """Run a line, which must succeed; return what it printed."""
        done = self.try_run(line)
        assert done.returncode == 0, (line, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def fail(self, line: str, status: int = 1) -> str:
        """Run a line, which must fail; return what it said."""
        done = self.try_run(line)
        assert done.returncode == status, (line, done.returncode, done.stdout, done.stderr)
        return done.stderr

    def json(self, line: str) -> Any:
        """Run a line with `--format json`; return what it printed, which is what its schema says."""
        words = shlex.split(line)
        # Before what may be the words of a container's own command.
        at = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        printed = self(shlex.join([*words[:at], "--format", "json", *words[at:]]))
        return validated(line, json.loads(printed))

    def endpoints(self, network: str) -> list[dict[str, Any]]:
        """Return the containers of a network."""
        (view,) = self.json(f"network inspect {network}")
        endpoints: list[dict[str, Any]] = view["endpoints"]
        return endpoints
