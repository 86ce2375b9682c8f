"""Calls plugins in children of a process that has their modules loaded; see warm_plugins.py.

    warm_plugins_server.py SOCKET ROOT...

Nothing is run here but imports: each child does one call, as a process of its own does, and ends.
"""

import ctypes
import gc
import json
import os
import pkgutil
import select
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
# Of plugins and what they call; the rest, such as policies, is imported by the calls that need it.
_PACKAGES = (
    *("shibafu.lean", "shibafu.cni", "shibafu.netlink", "shibafu.netfilter", "shibafu.resource"),
    *("shibafu.bandwidth", "shibafu.bridge", "shibafu.firewall", "shibafu.loopback", "shibafu.portmap"),
    *("shibafu.tuning", "shibafu_ipam"),
)


def _load_modules() -> None:
    for name in _PACKAGES:
        package = import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            # One that the command alone imports may need libraries that plugins do without.
            with suppress(ModuleNotFoundError):
                import_module(module.name)


def _run(request: dict[str, Any], streams: list[int]) -> int:
    """Become the plugin and do its call; return its exit status."""
    namespace = os.open(request["netns"], os.O_RDONLY | os.O_CLOEXEC)
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(namespace)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[:] = [request["plugin"]]
    try:
        import_module(request["module"]).main()
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


class _Server:
    """Serves requests of one client, at the same time, until it ends."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._poller = select.poll()
        self._poller.register(client, select.POLLIN)
        # Where to tell how each child ended, by a descriptor that says when.
        self._replies: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poller.poll():
                if descriptor in self._replies:
                    self._finish(descriptor)
                elif not self._start():
                    return

    def _start(self) -> bool:
        """Begin a call; say whether there was one."""
        data, received, _, _ = socket.recv_fds(self._client, 1 << 18, 4, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        *streams, reply = received
        child = os.fork()
        if not child:
            self._client.close()
            _child(json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(child)
        self._replies[ended] = child, reply
        self._poller.register(ended, select.POLLIN)
        return True

    def _finish(self, ended: int) -> None:
        child, reply = self._replies.pop(ended)
        self._poller.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(child, 0)
        # One that has waited too long is gone.
        with suppress(BrokenPipeError):
            os.write(reply, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(reply)


def main() -> None:
    """Load the modules, and serve."""
    sys.path[:0] = sys.argv[2:]
    _load_modules()
    # What is there is shared with all children; the collector would write to each object.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as client:
        _Server(client).run()


if __name__ == "__main__":
    main()
