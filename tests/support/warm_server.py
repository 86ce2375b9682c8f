"""Runs the command `shibafu` in children of a process that has its libraries loaded; see warm.py.

Nothing of the suite is imported here: each child imports it, as a process of its own does.
"""

import ctypes
import json
import os
import socket
import sys
import traceback
from typing import Any, NoReturn

# Three quarters of the processor time of a short command are spent on importing these.
import filelock  # noqa: F401
import pyroute2  # noqa: F401
import yaml  # noqa: F401

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_PRIVATE_RECURSIVE = 0x44000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(request: dict[str, Any], streams: list[int]) -> int:
    """Become the command and run it; return its exit status."""
    namespace = os.open(request["netns"], os.O_RDONLY | os.O_CLOEXEC)
    _check(_LIBC.setns(namespace, 0))
    os.close(namespace)
    _check(_LIBC.unshare(_CLONE_NEWNS))
    _check(_LIBC.mount(b"none", b"/", None, _MS_PRIVATE_RECURSIVE, None))
    for place, store in request["mounts"].items():
        _check(_LIBC.mount(os.fsencode(store), os.fsencode(place), None, _MS_BIND, None))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    # Not this file's directory.
    sys.path[:1] = request["roots"]
    sys.argv[1:] = request["arguments"]
    from shibafu.cli.__main__ import main

    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _child(request: dict[str, Any], streams: list[int]) -> NoReturn:
    status = 1
    try:
        status = _run(request, streams)
        sys.stdout.flush()
    except BaseException:  # a forked child must not return into the server, whatever happened
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Serve requests of one client, one after the other, until it ends."""
    with socket.socket(fileno=int(sys.argv.pop())) as client:
        while True:
            data, streams, _, _ = socket.recv_fds(client, 1 << 16, 3)
            if not data:
                return
            child = os.fork()
            if not child:
                client.close()
                _child(json.loads(data), streams)
            for stream in streams:
                os.close(stream)
            _, status = os.waitpid(child, 0)
            client.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    main()
