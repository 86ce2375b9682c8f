"""What the executable of the command `shibafu` runs first, after PyInstaller's own bootstrap."""

import gc
import os
import sys


def restore_environment(internal: str) -> None:
    """Take out of the environment what the bootloader put there for itself, so that no child inherits it.

    Args:
        internal: the folder that it loads libraries from.
    """
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]
    # The bootloader's folder comes before what the caller had; LD_LIBRARY_PATH_ORIG is a copy of the latter.
    search_path = os.environ.get("LD_LIBRARY_PATH", "")
    if search_path == internal:
        del os.environ["LD_LIBRARY_PATH"]
    elif search_path.startswith(f"{internal}:"):
        os.environ["LD_LIBRARY_PATH"] = search_path.removeprefix(f"{internal}:")
        os.environ.pop("LD_LIBRARY_PATH_ORIG", None)


def main() -> None:
    """Run the command; whatever it starts has the caller's environment."""
    gc.set_threshold(100_000)  # imports make that many objects, and all of them stay
    restore_environment(sys._MEIPASS)  # type: ignore[attr-defined]  # the bootloader's
    from shibafu.cli.__main__ import main as run

    try:
        run()
    finally:
        gc.freeze()  # looking for garbage at the end would take 30 ms


if __name__ == "__main__":
    main()
