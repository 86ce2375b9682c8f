"""Calls of the IPAM plugin: what each reads from stdin, answers, and leaves behind tells who did it."""

import subprocess
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Any

CALL = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}


class Ipam:
    """The plugin, and where it keeps its leases.

    Args:
        program: the executable.
        data_dir: its directory.
    """

    def __init__(self, program: Path, data_dir: Path) -> None:
        self.program = program
        self.data_dir = data_dir
        self.config = {
            "cniVersion": "1.0.0",
            "name": "net",
            "type": "bridge",
            "ipam": {
                "type": "shibafu-ipam",
                "ranges": [[{"subnet": "10.1.0.0/24"}]],
                "dataDir": str(data_dir),
            },
        }

    def start(self, *prefix: str | Path, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Begin a call, ADD of `c1` but for what `env` says, by a program that executes its arguments."""
        process = subprocess.Popen(
            [*prefix, self.program],
            env=CALL | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin
        process.stdin.write(dumps(self.config).encode())
        # One that is killed before it has read leaves nobody to write to.
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None
        return process

    def run(self, *prefix: str | Path, env: dict[str, str] | None = None) -> Any:
        """Make a call that succeeds and logs nothing; return what it answered."""
        stdout, stderr = (process := self.start(*prefix, env=env)).communicate(timeout=60)
        assert (process.returncode, stderr) == (0, b""), (stdout, stderr)
        return loads(stdout) if stdout else None

    def add(self, *prefix: str | Path, env: dict[str, str] | None = None) -> None:
        """ADD in a store that is empty, and see that it was done, once."""
        answer = self.run(*prefix, env=env)
        assert [ip["address"] for ip in answer["ips"]] == ["10.1.0.2/24"]
        assert self.leases() == ["10.1.0.2"]

    def leases(self) -> list[str]:
        """Return the addresses that are in use."""
        return sorted(path.name for path in (self.data_dir / "net").glob("10.*"))


def in_shell(script: str, *before: str) -> tuple[str, ...]:
    """Return a program that runs shell commands, and then its arguments."""
    return (*before, "/bin/sh", "-ec", f'{script} exec "$@"', "sh")
