"""`shibafu engine start`."""

import fcntl
import os
import subprocess
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.lean.files import open_file, read_file
from shibafu.networks.errors import CommandError
from shibafu.networks.text import format_count

# Seconds until it listens, at most; on a busy machine it takes one.
_PATIENCE = 30.0
_PAUSE = 0.02
_LONGEST_LOG = 1 << 20
# By these an engine knows that systemd has started it; here they would be another service's.
_OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def _run(context: Context, _arguments: Namespace) -> int:
    from shibafu.cli.engine.client import ask_engine, find_engine, require_root, wait_for_end

    require_root()
    installation = find_engine()
    place = installation.place
    if not os.path.exists(f"{place.home}/_internal/launcher"):
        raise CommandError(
            "these executables would not use an engine: they were built without musl-gcc",
            "install it (apt-get install musl-tools) and build them again",
        )
    place.make()
    with _starting_alone(place.log):
        while (found := ask_engine(place)) is not None:
            if found.status["build"] == place.read_build() and not found.status["ending"]:
                context.out.data({"started": False, "pid": found.pid})
                context.out.text(f"the engine is running already: process {found.pid}")
                return 0
            busy = format_count(found.status["busy"], "call")
            context.out.text(f"waiting for process {found.pid}, the engine before, which is running {busy}")
            wait_for_end(found)
        child = _start(installation.program, place.log)
        deadline = time.monotonic() + _PATIENCE
        while ask_engine(place) is None:
            if child.poll() is not None:
                raise CommandError(f"the engine has ended: {_read_last_line(place.log)}")
            if time.monotonic() > deadline:
                child.kill()
                raise CommandError(f"the engine is not ready after {_PATIENCE:g} seconds", f"see {place.log}")
            time.sleep(_PAUSE)
    context.out.data({"started": True, "pid": child.pid})
    context.out.text(f"started the engine: process {child.pid}")
    return 0


@contextmanager
def _starting_alone(log: str) -> Iterator[None]:
    """Wait for others who are starting it."""
    # Not by the descriptor that the engine gets, which would hold the lock for as long as it runs.
    descriptor = open_file(log, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start(program: str, log: str) -> "subprocess.Popen[bytes]":
    with open(log, "wb", opener=open_file) as errors:
        return subprocess.Popen(  # noqa: S603 - our own program
            [program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD},
            cwd="/",
            # A terminal's Ctrl-C and hang-up are not for the engine.
            start_new_session=True,
        )


def _read_last_line(log: str) -> str:
    lines = (read_file(log, _LONGEST_LOG) or b"").decode("utf-8", "replace").splitlines()
    return lines[-1].removeprefix("shibafu-engine: ") if lines else "it was killed"


SUBCOMMAND = Subcommand(
    "start",
    "start the engine in the background",
    "Start the engine in the background and return once it accepts calls. It runs until\n"
    "`shibafu engine stop`, until its installation is upgraded or removed, or until the machine stops.\n"
    "Where systemd runs, the service shibafu-engine starts it, and restarts it if it ends.",
    ("shibafu engine start", "shibafu engine status                 # what it has done so far"),
    _run,
)
