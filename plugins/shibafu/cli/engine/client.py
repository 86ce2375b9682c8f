"""The installation that the command belongs to, and what its engine says of itself."""

import json
import os
import select
import signal
import struct
import sys
from dataclasses import dataclass
from socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket
from typing import Any

from shibafu.engine.location import EngineLocation
from shibafu.lean.files import read_file
from shibafu.networks.errors import CommandError

_FIRST_LINE = 512
# Seconds: for an answer, and for the end of an engine, which gives calls in progress 95.
_PATIENCE = 5.0
_DRAIN = 100.0
_PIECE = 1 << 16
_UCRED = struct.Struct("=iII")


@dataclass(frozen=True)
class InstalledEngine:
    """A folder of executables.

    Args:
        program: the path of its shibafu-engine.
        place: where its engine listens.
    """

    program: str
    place: EngineLocation


@dataclass(frozen=True)
class Answer:
    """What an engine says of itself.

    Args:
        pid: its process, as this one sees it; 0 where that cannot be seen from here.
        status: see `shibafu.engine.parent.Parent.describe`.
    """

    pid: int
    status: dict[str, Any]


def find_engine() -> InstalledEngine:
    """Return the installation that this command is part of, of whichever version.

    Raises:
        CommandError: it has no engine, as what pip installs has none.
    """
    own = os.path.realpath(sys.executable if getattr(sys, "frozen", False) else sys.argv[0])
    program = f"{os.path.dirname(own)}/shibafu-engine"
    # Its first line has the folder's name as the engine and the plugins know it, which may be by a link.
    line = (read_file(program, _FIRST_LINE) or b"").partition(b"\n")[0]
    home, found, _ = os.fsdecode(line).removeprefix("#!").rpartition("/_internal/python3")
    if not found:
        raise CommandError(
            "this installation has no engine", "the executables that packaging/build.sh builds have one"
        )
    return InstalledEngine(program, EngineLocation(home))


def require_root() -> None:
    """Refuse everybody else.

    Raises:
        CommandError: the caller is not root.
    """
    if os.geteuid() != 0:
        raise CommandError("only root may use the engine", "try it with sudo")


def ask_engine(place: EngineLocation) -> Answer | None:
    """Return what the engine says; None when none is running.

    Raises:
        CommandError: it does not answer.
        OSError: it cannot be asked.
    """
    with socket(AF_UNIX, SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(place.status)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        pid = _UCRED.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _UCRED.size))[0]
        said = b""
        try:
            while piece := connection.recv(_PIECE):
                said += piece
        except ConnectionResetError:
            return None  # it has ended just now
        except TimeoutError:
            raise CommandError(
                f"the engine, process {pid}, does not answer",
                f"until it does, calls start cold; to end it: kill -KILL {pid}",
            ) from None
    return Answer(pid, json.loads(said)) if said else None


def wait_for_end(engine: Answer, number: int = 0) -> None:
    """Wait until an engine has ended, which is when the calls that it is running have.

    Args:
        engine: the engine.
        number: a signal to be sent to it before.

    Raises:
        CommandError: it takes longer than calls may, or is none of this namespace's processes.
    """
    pid = engine.pid
    if pid <= 0:
        raise CommandError("the engine runs in another process namespace", "stop it there")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if number:
            signal.pidfd_send_signal(process, number)
        poller = select.poll()
        poller.register(process, select.POLLIN)
        if not poller.poll(_DRAIN * 1000):
            raise CommandError(f"the engine, process {pid}, does not end", f"kill -KILL {pid}")
    except ProcessLookupError:
        pass  # just now
    finally:
        os.close(process)
