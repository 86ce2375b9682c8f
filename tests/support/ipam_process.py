"""Calling shibafu-ipam as a process that sees the machine in another way than the tests do."""

import subprocess
from collections.abc import Mapping
from json import dumps, loads
from pathlib import Path
from typing import Any

from support.ipam import Ipam
from support.suite import Suite


class Caller(Ipam):
    """A network, and the plugin as a process that is started by other programs.

    Args:
        suite: the plugins.
        data_dir: the directory of all networks.
        ipam: the `ipam` section, without `dataDir`.
        place: what `{place}` stands for in those programs' arguments.
    """

    def __init__(self, suite: Suite, data_dir: Path, ipam: Mapping[str, object], place: Path) -> None:
        super().__init__(data_dir, ipam)
        self.program = suite.directory / "host-local"
        self.place = place

    def execute(
        self, prefix: tuple[str, ...], command: str, container: str, netns: str, args: str = ""
    ) -> tuple[int, Any]:
        """Return the exit status and the answer, None for no output."""
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": netns,
            "CNI_ARGS": args,
            "CNI_PATH": str(self.program.parent),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done = subprocess.run(
            [*(word.replace("{place}", str(self.place)) for word in prefix), str(self.program)],
            env=env,
            input=dumps(self.document()).encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        return done.returncode, loads(done.stdout) if done.stdout else None
