"""Plugins that write down how a runtime calls them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shibafu.runtime.cache import CachedAttachment, cache_read
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import NetworkList, parse_conflist

# Writes down how it is called, and answers what it finds under ANSWER; a file FAIL makes it an error.
PLUGIN = """#!/bin/sh
name=$(basename "$0")
cd "{directory}"
echo "$CNI_COMMAND $name" >>calls
cat >"$name.$CNI_COMMAND.json"
env >"$name.$CNI_COMMAND.env"
[ -f "$name.$CNI_COMMAND.answer" ] && cat "$name.$CNI_COMMAND.answer"
[ ! -f "$name.$CNI_COMMAND.fails" ]
"""
KEY = ("net", "ctr", "eth0")
ARGUMENTS = ("ctr", "/run/netns/ctr", "eth0")


class RuntimeLab:
    """Plugins `a`, `b` and `c` that do nothing, and what they were called with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls_file = directory / "log" / "calls"
        self.cache_dir = str(directory / "results")
        (directory / "log").mkdir()
        (directory / "bin").mkdir()
        for name in "abc":
            plugin = directory / "bin" / name
            plugin.write_text(PLUGIN.format(directory=directory / "log"))
            plugin.chmod(0o755)
            self.answer(name, {"cniVersion": "1.1.0", "ips": [{"address": f"10.0.0.{ord(name)}/24"}]})
        self.runtime = Runtime(
            [str(directory / "none"), str(directory / "bin")],
            cache_dir=self.cache_dir,
            conf_dir=str(directory / "conf"),
            env={"PATH": os.environ["PATH"], "CNI_ARGS": "STALE=1", "CNI_IFNAME": "stale"},
            lock_dir=str(directory / "locks"),
        )

    def answer(self, name: str, answer: Any, command: str = "ADD") -> None:
        (self.directory / "log" / f"{name}.{command}.answer").write_text(json.dumps(answer))

    def fail(self, name: str, command: str, error: Mapping[str, object] | None = None) -> None:
        (self.directory / "log" / f"{name}.{command}.fails").touch()
        self.answer(name, error or {"code": 11, "msg": "busy", "details": "wait"}, command)

    def calls(self) -> list[str]:
        """Return the calls since the last time."""
        if not self.calls_file.exists():
            return []
        calls = self.calls_file.read_text().splitlines()
        self.calls_file.unlink()
        return calls

    def config(self, name: str, command: str = "ADD") -> Any:
        return json.loads((self.directory / "log" / f"{name}.{command}.json").read_text())

    def env(self, name: str, command: str = "ADD") -> dict[str, str]:
        lines = (self.directory / "log" / f"{name}.{command}.env").read_text().splitlines()
        env = dict(line.split("=", 1) for line in lines)
        return {key: value for key, value in env.items() if key.startswith("CNI_")}

    def cached(self) -> CachedAttachment | None:
        return cache_read(*KEY, self.cache_dir)


def network(*plugins: Mapping[str, object], version: str = "1.1.0", **keys: object) -> NetworkList:
    document = {
        "cniVersion": version,
        "name": "net",
        "plugins": plugins or [{"type": "a"}, {"type": "b"}, {"type": "c"}],
    }
    return parse_conflist(json.dumps(document | keys).encode(), "net.conflist")
