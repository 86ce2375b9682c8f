"""The `shibafu` command as a process."""

import os
import sys
from typing import TextIO

from shibafu.cli.parser import run
from shibafu.cni.directories import UMASK


def main() -> None:
    """Run as a process."""
    os.umask(UMASK)
    stdout = _require(sys.stdout)
    status = run(sys.argv[1:], stdout, _require(sys.stderr))
    try:
        stdout.flush()
    except OSError:
        # It has been told. Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    sys.exit(status)


def _require(stream: TextIO | None) -> TextIO:
    """Return a stream, or one to nowhere in place of one that the caller has closed."""
    return open(os.devnull, "w", encoding="utf-8") if stream is None else stream


if __name__ == "__main__":
    main()
