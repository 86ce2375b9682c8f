"""Calling plugins through libcni: cnitool/main.go on a machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from e2e.machine import CNI_PATH, Machine


class CniTool:
    """libcni's verbs for containers that are nothing but a network namespace.

    Args:
        machine: where the plugins run.
        binary: cnitool, compiled.
    """

    def __init__(self, machine: Machine, binary: Path) -> None:
        self.machine = machine
        self.binary = binary
        self.env: dict[str, str] = {"CNI_PATH": CNI_PATH}

    def add(self, network: str, container: str, **env: str) -> Any:
        """Attach a container and return the last plugin's result."""
        return json.loads(self._run("add", network, container, env))

    def check(self, network: str, container: str, **env: str) -> None:
        """Check the attachment."""
        self._run("check", network, container, env)

    def delete(self, network: str, container: str, **env: str) -> None:
        """Detach it; a container that is gone is all right."""
        self._run("del", network, container, env)

    def version(self, network: str, container: str) -> list[str]:
        """Let libcni see whether the plugins speak the network's version; return its capabilities."""
        return self._run("version", network, container, {}).split()

    def refuse(self, verb: str, network: str, container: str, **env: str) -> str:
        """Do what has to fail and return why it did."""
        done = self.try_run(verb, network, container, env)
        assert done.returncode == 1, f"{verb} succeeded: {done.stdout}"
        return done.stderr

    def try_run(
        self, verb: str, network: str, container: str, env: Mapping[str, str]
    ) -> "CompletedProcess[str]":
        """Do what may fail."""
        return self.machine.try_run(
            str(self.binary), verb, network, f"/run/netns/{container}", env=self.env | dict(env)
        )

    def _run(self, verb: str, network: str, container: str, env: Mapping[str, str]) -> str:
        done = self.try_run(verb, network, container, env)
        assert done.returncode == 0, f"{verb} failed: {done.stdout}{done.stderr}"
        return done.stdout
