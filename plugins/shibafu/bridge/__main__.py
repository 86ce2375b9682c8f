"""shibafu-bridge, the executable.

This module composes the plugin and is the only one that knows both the bridge and the IPAM that may
run inside it. It and everything that a verb imports keep to the import budget: of the standard
library only `os`, `sys`, `io`, `time`, `errno`, `fcntl`, `struct` and C modules such as `_socket`;
VERSION imports nothing but the protocol's shell. tests/unit/test_import_budget.py and
tests/netns/test_bridge_import_budget.py enforce it.
"""

from shibafu.cni import skel
from shibafu.cni.version import SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.delegate import Installation
    from shibafu.cni.request import Request


def _add(request: "Request") -> object:
    from shibafu.bridge.add import add

    return add(request, _find_installation())


def _delete(request: "Request") -> None:
    from shibafu.bridge.delete import delete

    delete(request, _find_installation())


def _check(request: "Request") -> None:
    from shibafu.bridge.check import check

    check(request, _find_installation())


def _status(request: "Request") -> None:
    from shibafu.bridge.status import status

    status(request, _find_installation())


def _collect_garbage(request: "Request") -> None:
    from shibafu.bridge.gc import collect_garbage

    collect_garbage(request, _find_installation())


def _load_ipam() -> skel.Plugin:
    from shibafu_ipam.__main__ import PLUGIN

    return PLUGIN


def _find_installation() -> "Installation":
    from shibafu.cni.delegate import find_installation

    return find_installation({"shibafu-ipam": _load_ipam})


PLUGIN = skel.Plugin(
    "bridge",
    {"ADD": _add, "DEL": _delete, "CHECK": _check, "STATUS": _status, "GC": _collect_garbage},
    SUPPORTED,
)


# What the engine and the interpreter call.
run, main = PLUGIN.run, PLUGIN.main

if __name__ == "__main__":
    main()
