"""shibafu-bandwidth, the executable.

Of the standard library it imports what the other plugins may: tests/unit/test_import_budget.py holds it.
"""

from shibafu.cni import skel
from shibafu.cni.version import SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request

# Before, results did not include interfaces.
_FIRST = "0.3.0"


def _add(request: "Request") -> object:
    from shibafu.bandwidth.verbs import add

    return add(request)


def _check(request: "Request") -> None:
    from shibafu.bandwidth.verbs import check

    check(request)


def _delete(request: "Request") -> None:
    from shibafu.bandwidth.verbs import delete

    delete(request)


def _collect_garbage(request: "Request") -> None:
    from shibafu.bandwidth.gc import collect_garbage

    collect_garbage(request)


def _status(request: "Request") -> None:
    from shibafu.bandwidth.verbs import status

    status(request)


PLUGIN = skel.Plugin(
    "bandwidth",
    {"ADD": _add, "CHECK": _check, "DEL": _delete, "GC": _collect_garbage, "STATUS": _status},
    SUPPORTED[SUPPORTED.index(_FIRST) :],
)


# What the engine and the interpreter call.
run, main = PLUGIN.run, PLUGIN.main

if __name__ == "__main__":
    main()
