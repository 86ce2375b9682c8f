"""The `shibafu` command as a process."""

import sys

from shibafu.command.cli import run


def main() -> None:
    """Run as a process."""
    sys.exit(run(sys.argv[1:], sys.stdout, sys.stderr))


if __name__ == "__main__":
    main()
