"""install.sh and uninstall.sh, with directories of the test's own."""

import os
import subprocess
from pathlib import Path

from support.built import ROOT

DIRECTORIES = ("prefix", "bindir", "sbindir", "mandir", "confdir", "bashdir", "zshdir", "fishdir", "unitdir")


def run_script(name: str, *arguments: str | Path, status: int = 0, destdir: str | Path = "") -> str:
    """Run a script of packaging/ and return what it says."""
    done = subprocess.run(
        [ROOT / "packaging" / name, *arguments],
        env={**os.environ, "DESTDIR": str(destdir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    return said


class Target:
    """Directories to install into.

    Args:
        root: what they are in.
        built: the executables.
    """

    def __init__(self, root: Path, built: Path) -> None:
        self.root = root
        self.built = built
        self.prefix, self.bindir, self.sbindir, self.mandir, self.confdir = (
            root / name for name in DIRECTORIES[:5]
        )
        self.unit = root / "unitdir/shibafu-engine.service"

    def list_options(self) -> list[str | Path]:
        """Return what has install.sh install into these directories."""
        return [part for name in DIRECTORIES for part in (f"--{name}", self.root / name)]

    def install(self, *options: str | Path, source: Path | None = None, status: int = 0) -> str:
        """Install all but the service, which would be this machine's."""
        arguments = ["--from", source or self.built, *self.list_options(), "--no-engine", *options]
        return run_script("install.sh", *arguments, status=status)

    def install_unit(self) -> None:
        """Install the service's unit, and have nobody start it."""
        script = '. ./service.sh && install_unit "./$2" "$0" "$1"'
        command = ["/bin/sh", "-ec", script, str(self.unit), str(self.prefix), self.unit.name]
        subprocess.run(command, cwd=ROOT / "packaging/install", check=True, timeout=300)

    def uninstall(self) -> str:
        return run_script("uninstall.sh", "--prefix", self.prefix)

    def list_versions(self) -> list[str]:
        return sorted(path.name for path in (self.prefix / "versions").iterdir())

    def list_files(self) -> dict[str, str]:
        """Return everything that is not a directory, and where links lead."""
        return {
            str(path.relative_to(self.root)): str(path.readlink()) if path.is_symlink() else ""
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file()
        }
