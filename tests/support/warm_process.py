"""A process that has loaded what calls import, and does each of them in a child."""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TIMEOUT = 60  # seconds until it has ended


class WarmProcess:
    """The process, which serves its socket until that is closed.

    Args:
        python: the interpreter, with its options.
        server: the name of its file, next to this one.
        roots: further arguments, after the number of the socket.
        env: its whole environment.
    """

    def __init__(
        self, python: Sequence[str], server: str, roots: Sequence[Path], env: Mapping[str, str]
    ) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*python, Path(__file__).with_name(server), str(theirs.fileno()), *roots],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(_TIMEOUT)
