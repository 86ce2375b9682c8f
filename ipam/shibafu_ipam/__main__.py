"""shibafu-ipam, the executable.

The import budget, which holds for everything that ADD, DEL and CHECK import: of the standard library
only `os`, `sys`, `io`, `time`, `errno`, `fcntl` and C modules such as `_socket`. Each verb imports
its own module; VERSION imports nothing but the protocol's shell.
"""

from shibafu.cni import skel
from shibafu.cni.version import SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request


def _add(request: "Request") -> object:
    from shibafu_ipam.add import add

    return add(request)


def _delete(request: "Request") -> None:
    from shibafu_ipam.delete import delete

    delete(request)


def _check(request: "Request") -> None:
    from shibafu_ipam.check import check

    check(request)


def _status(request: "Request") -> None:
    from shibafu_ipam.status import status

    status(request)


def _collect_garbage(request: "Request") -> None:
    from shibafu_ipam.gc import collect_garbage

    collect_garbage(request)


PLUGIN = skel.Plugin(
    "ipam",
    {"ADD": _add, "DEL": _delete, "CHECK": _check, "STATUS": _status, "GC": _collect_garbage},
    SUPPORTED,
)


# What the engine and the interpreter call.
run, main = PLUGIN.run, PLUGIN.main

if __name__ == "__main__":
    main()
