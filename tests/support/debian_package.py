"""The Debian package, as packaging/deb.sh makes it of executables that were built."""

import shutil
import subprocess
from pathlib import Path

from support.built import ROOT


def run(*command: str | Path) -> str:
    """Run a program and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_package(built: Path, tree: Path, *options: str, shell: str = 'exec "$@"') -> Path:
    """Build a package in a copy of this tree, so that dist/ stays as it is."""
    for name in ("packaging", "conf"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("CHANGELOG.md", "plugins/shibafu/__init__.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    run("/bin/bash", "-c", shell, "bash", tree / "packaging" / "deb.sh", "--from", built, *options)
    (package,) = (tree / "dist").glob("*.deb")
    return package
