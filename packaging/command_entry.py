"""What the executable of the command `shibafu` runs first, after PyInstaller's own bootstrap."""

import gc
import sys
from importlib import import_module

from entry import restore_environment


def main() -> None:
    """Run the command; whatever it starts has the caller's environment."""
    gc.set_threshold(100_000)  # imports make that many objects, and all of them stay
    restore_environment(sys._MEIPASS)  # type: ignore[attr-defined]  # the bootloader's
    # The interpreter has started with the plugins' `encodings`, before there was an archive to look into.
    sys.path_importer_cache.clear()
    del sys.modules["encodings"]
    import_module("encodings")
    from shibafu.command.__main__ import main as run

    try:
        run()
    finally:
        gc.freeze()  # looking for garbage at the end would take 30 ms


if __name__ == "__main__":
    main()
