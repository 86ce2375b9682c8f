"""The scripts of packaging/ on a machine without python3, which they install."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.built import ROOT

pytestmark = [pytest.mark.root, pytest.mark.long]

# Debian's python3 as it is before its installation: not executable, and not known to dpkg.
HIDE = """
set -e
mount --bind "$1/nothing" "$(realpath /usr/bin/python3)"
mount --bind "$1/status" /var/lib/dpkg/status
shift
exec "$@"
"""
# Installing is what takes long and the network; here it uncovers the interpreter.
APT_GET = """#!/bin/sh
echo "$@" >>{log}
[ "$1" = update ] || umount "$(realpath /usr/bin/python3)"
"""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory with what makes this machine one without python3."""
    (tmp_path / "nothing").touch(0o644)
    entries = Path("/var/lib/dpkg/status").read_text().split("\n\n")
    kept = [entry for entry in entries if not entry.startswith("Package: python3\n")]
    assert len(kept) == len(entries) - 1
    (tmp_path / "status").write_text("\n\n".join(kept))
    (tmp_path / "bin").mkdir()
    apt_get = tmp_path / "bin" / "apt-get"
    apt_get.write_text(APT_GET.format(log=tmp_path / "log"))
    apt_get.chmod(0o755)
    return tmp_path


def run(bare: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", HIDE, "hide", bare, *command],
        env={
            "HOME": os.environ.get("HOME", "/root"),
            "PATH": f"{bare}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DESTDIR": str(bare / "root"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("script", ["build.sh", "install.sh", "deb.sh"])
def test_python_is_installed_where_it_is_missing(built: Path, bare: Path, script: str) -> None:
    done = run(bare, ROOT / "packaging" / script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (bare / "log").read_text() == "update\ninstall -y --no-install-recommends python3\n"


def test_who_may_not_install_it_is_told_what_to_install(bare: Path) -> None:
    # pytest's directories are root's alone.
    with TemporaryDirectory() as clone:
        os.makedirs(f"{clone}/packaging/install")
        for name in ("build.sh", "apt.sh", "install/versions.sh"):
            shutil.copy(ROOT / "packaging" / name, f"{clone}/packaging/{name}")
        subprocess.run(["chown", "-R", "65534:65534", clone], check=True)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        done = run(bare, *nobody, f"{clone}/packaging/build.sh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing: python3" in done.stderr
    assert "apt-get install python3" in done.stderr
    assert not (bare / "log").exists()
