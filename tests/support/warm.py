"""Runs the command `shibafu` from its sources in a fifth of the time, by a process that has its libraries."""

import json
import socket
import sys
from atexit import register
from collections.abc import Mapping
from functools import cache
from tempfile import TemporaryFile

from support.warm_process import WarmProcess

_TIMEOUT = 60  # seconds for one command


class WarmCommand(WarmProcess):
    """The process, and how to talk to it.

    Args:
        path: PATH of the process.
    """

    def __init__(self, path: str) -> None:
        super().__init__([sys.executable], "warm_server.py", (), {"PATH": path})
        self._socket.settimeout(_TIMEOUT)

    def run(
        self,
        arguments: tuple[str, ...],
        roots: list[str],
        env: Mapping[str, str],
        netns: str,
        mounts: Mapping[str, str],
        stdin: str,
    ) -> tuple[int, str, str]:
        """Run the command.

        Args:
            arguments: what follows its name.
            roots: the directories that hold the suite's sources.
            env: its whole environment.
            netns: the path of its network namespace.
            mounts: directories that it sees at other paths, by these.
            stdin: what it can read.

        Returns:
            Its exit status, and what it printed on stdout and on stderr.
        """
        request = {"arguments": arguments, "roots": roots, "env": dict(env), "netns": netns}
        with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            data = json.dumps(request | {"mounts": dict(mounts)}).encode()
            socket.send_fds(self._socket, [data], [given.fileno(), out.fileno(), err.fileno()])
            status = int(self._socket.recv(16))
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()


@cache
def warm_command(path: str) -> WarmCommand:
    """Return the process of this one, which ends with it."""
    made = WarmCommand(path)
    register(made.close)
    return made
