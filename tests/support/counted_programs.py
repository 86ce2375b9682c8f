"""Programs of the firewall whose starts are counted."""

from pathlib import Path

from support.machine import link_iptables


class Programs:
    """Programs of the firewall that are found first in PATH, and tell that they were started.

    Args:
        directory: for them and their log.
        variant: the variant of iptables, `nft` or `legacy`.
    """

    def __init__(self, directory: Path, variant: str) -> None:
        directory.mkdir()
        path = link_iptables(directory / "real", variant)
        self._log = directory / "log"
        # The variant is told by the name of the program that links lead to.
        self._program = program = directory / f"xtables-{variant}-multi"
        program.write_text(
            f'#!/bin/sh\nname=${{0##*/}}\necho "$name" >>{self._log}\nPATH={path} exec "$name" "$@"\n'
        )
        program.chmod(0o755)
        for name in ("iptables-restore", "ip6tables-restore", "nft"):
            (directory / name).symlink_to(program)
        self.path = f"{directory}:{path}"

    def write_over(self) -> None:
        """Give the program another content, as `cp` does: it is the same file."""
        self._program.write_text(self._program.read_text() + "# another release\n")

    def count(self) -> int:
        """Return how many were started since this was asked last."""
        started = self._log.read_text().split() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return len(started)
