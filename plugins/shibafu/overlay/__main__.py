"""shibafu-overlay, the executable; also called `flannel`, whose keys it has.

This module composes the plugin and is the only one that knows the bridge plugin, which most often does the
work inside it. Of the standard library it imports what the other plugins may:
tests/unit/test_import_budget.py holds it.
"""

from shibafu.cni import skel
from shibafu.cni.version import SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.delegate import Installation
    from shibafu.cni.request import Request


def _add(request: "Request") -> object:
    from shibafu.overlay.verbs import add

    return add(request, _find_installation())


def _check(request: "Request") -> None:
    from shibafu.overlay.verbs import check

    check(request, _find_installation())


def _delete(request: "Request") -> None:
    from shibafu.overlay.verbs import delete

    delete(request, _find_installation())


def _status(request: "Request") -> None:
    from shibafu.overlay.verbs import status

    status(request, _find_installation())


def _collect_garbage(request: "Request") -> None:
    from shibafu.overlay.gc import collect_garbage

    collect_garbage(request, _find_installation())


def _load_bridge() -> skel.Plugin:
    from shibafu.bridge.__main__ import PLUGIN as BRIDGE

    return BRIDGE


def _find_installation() -> "Installation":
    from shibafu.cni.delegate import find_installation

    return find_installation({"shibafu-bridge": _load_bridge})


PLUGIN = skel.Plugin(
    "overlay",
    {"ADD": _add, "CHECK": _check, "DEL": _delete, "GC": _collect_garbage, "STATUS": _status},
    SUPPORTED,
)


# What the engine and the interpreter call.
run, main = PLUGIN.run, PLUGIN.main

if __name__ == "__main__":
    main()
