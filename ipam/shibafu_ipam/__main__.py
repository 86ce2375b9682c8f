"""shibafu-ipam, the executable.

The import budget, which holds for everything that ADD, DEL and CHECK import: of the standard library
only `os`, `sys`, `io`, `time`, `errno`, `fcntl` and C modules such as `_socket`. Each verb imports
its own module; VERSION imports nothing but the protocol's shell.
"""

import sys

from shibafu.cni import skel
from shibafu.cni.version import SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

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


def run(env: "Mapping[str, str]", stdin: "BinaryIO", stdout: "BinaryIO") -> int:
    """Do one CNI call; see `shibafu.cni.skel.run`. It depends on nothing of the process but its files."""
    return skel.run(PLUGIN, env, stdin, stdout)


def main() -> None:
    """Run as a process."""
    sys.exit(skel.run_process(run))


if __name__ == "__main__":
    main()
