"""The reference's source, as Debian has it: of the release whose executables are installed."""

import shutil
import subprocess
from pathlib import Path

from long.debian import find_mirror

_PACKAGE = "containernetworking-plugins"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def fetch_source(directory: Path) -> Path:
    """Return the folder of the source, fetched where it is missing.

    apt-get(8) is told of the sources of the archive that this machine installs from; its own configuration is
    left alone.

    Args:
        directory: what is fetched stays here for the next time.
    """
    wanted = ["dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", _PACKAGE]
    name, version = subprocess.check_output(wanted, text=True).split()
    stamp = directory / "fetched"
    if not stamp.exists() or stamp.read_text() != version:
        shutil.rmtree(directory, ignore_errors=True)
        for made in ("lists", "cache"):
            (directory / made).mkdir(parents=True)
        sources = directory / "sources.list"
        sources.write_text(f"deb-src {find_mirror()} {_find_release()} main\n")
        options = {
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::trusted": _KEYS,
            "Dir::State::lists": str(directory / "lists"),
            "Dir::Cache": str(directory / "cache"),
            # The user that it becomes may not enter every folder.
            "APT::Sandbox::User": "root",
        }
        apt_get = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
        for command in (["update"], ["source", "--only-source", f"{name}={version}"]):
            subprocess.run([*apt_get, *command], cwd=directory, check=True)
        stamp.write_text(version)
    (found,) = directory.glob(f"{name}-*/")
    return found


def _find_release() -> str:
    release = Path("/etc/os-release").read_text()
    return release.partition("VERSION_CODENAME=")[2].splitlines()[0]
