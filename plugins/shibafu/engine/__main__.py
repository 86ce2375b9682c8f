"""shibafu-engine, the executable: `shibafu engine run` and the service start it.

    shibafu-engine [--metrics=FILE] [--untrained]

It stays until SIGTERM, or until another build takes its own's place.
"""

import os
import sys
from _thread import stack_size

from shibafu.cni.directories import UMASK
from shibafu.cni.errors import CniError
from shibafu.cni.sole_process import ALREADY_AT_WORK
from shibafu.engine.announced_output import open_output
from shibafu.engine.location import EngineLocation
from shibafu.engine.parent import Parent
from shibafu.engine.programs import SERVED
from shibafu.engine.sole_engine import AlreadyRunningError
from shibafu.engine.warmup import warm_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


# Bytes; a thread does nothing but ask the kernel to delete a link.
_STACK = 1 << 18


def load_everything() -> None:
    """Import whatever a call may need: later there may be another build, or another mount namespace."""
    importer = sys.meta_path[0]
    for name in getattr(importer, "modules", ()):
        if not name.endswith("__main__") or name in SERVED.values():
            __import__(name)


def run(argv: "Sequence[str]") -> int:
    """Be the engine of the installation that this is part of; return the exit status."""
    flags = dict(word[2:].partition("=")[::2] for word in argv)
    # Spares populate the stacks of threads that have ended, too: the usual 8 MiB each.
    stack_size(_STACK)
    # A process of the engine outlives the call that it has answered.
    sys.shibafu_resident = True  # type: ignore[attr-defined]  # some ask
    home = os.path.dirname(os.path.dirname(sys.executable))
    place = EngineLocation(home)
    try:
        parent = Parent(place, flags.get("metrics", ""))
    except AlreadyRunningError:
        sys.stderr.write(f"shibafu-engine: the engine of {home} is running already\n")
        return ALREADY_AT_WORK
    load_everything()
    parent.leave()
    is_trained = "untrained" not in flags and warm_up(home)
    return parent.run(is_trained)


def open_standard_files() -> None:
    """Have all of standard input, output and error, each of which a call replaces with its caller's."""
    nothing = os.open("/dev/null", os.O_RDWR)
    while nothing <= 2:
        nothing = os.dup(nothing)
    os.dup2(nothing, 0)
    os.close(nothing)
    # As the interpreter makes them in UTF-8 mode. They stay open, whatever becomes of these objects.
    sys.stdin = sys.stdin or open(0, errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open_output()
    sys.stderr = sys.stderr or open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115


def main() -> None:
    """Run as a process."""
    os.umask(UMASK)
    open_standard_files()
    try:
        sys.exit(run(sys.argv[1:]))
    except (CniError, OSError) as error:
        sys.stderr.write(f"shibafu-engine: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
