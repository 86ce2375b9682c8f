"""Calls plugins of these sources in a fraction of the time, by a process that has their modules loaded."""

import json
import os
import select
import socket
from atexit import register
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

from support.warm_process import WarmProcess

_TIMEOUT = 60  # seconds for one call


class WarmPlugins(WarmProcess):
    """The process, and how to talk to it; any thread may.

    Args:
        roots: the directories that hold the sources, `plugins` and `ipam`.
    """

    def __init__(self, *roots: Path) -> None:
        self.roots = roots
        # The interpreter and the options that launchers of sources have; and no language, which would have
        # it encode in another way than in a call.
        super().__init__(["/usr/bin/python3", "-IS"], "warm_plugins_server.py", roots, {})

    def call(
        self, plugin: Path, module: str, env: Mapping[str, str], netns: str, config: bytes
    ) -> tuple[int, bytes, bytes]:
        """Call a plugin.

        Args:
            plugin: the executable that it would be.
            module: its `__main__`.
            env: its whole environment.
            netns: the path of its network namespace.
            config: what it reads.

        Returns:
            Its exit status as that of `subprocess`, and what it printed on stdout and on stderr.
        """
        request = json.dumps({"plugin": str(plugin), "module": module, "env": dict(env), "netns": netns})
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(config)
            given.seek(0)
            ended, reply = os.pipe()
            try:
                streams = [given.fileno(), out.fileno(), err.fileno(), reply]
                socket.send_fds(self._socket, [request.encode()], streams)
                assert select.select([ended], [], [], _TIMEOUT)[0], f"{plugin} does not end"
                status = int(os.read(ended, 16))
            finally:
                os.close(ended)
                os.close(reply)
            out.seek(0)
            err.seek(0)
            return status, out.read(), err.read()


@cache
def warm_plugins(*roots: Path) -> WarmPlugins:
    """Return the process of this one, which ends with it."""
    made = WarmPlugins(*roots)
    register(made.close)
    return made
