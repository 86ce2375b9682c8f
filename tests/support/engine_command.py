"""`shibafu engine` of a folder of a test's own: nobody else's engine is touched."""

import shutil
import subprocess
from json import loads
from pathlib import Path
from typing import Any

from shibafu.engine.location import EngineLocation
from support.schemas import validated

_VERSIONS = Path(__file__).parents[2] / "packaging/install/versions.sh"


def alter_build(home: Path) -> None:
    """Make another build of a folder, which takes the place of what is there as build.sh does it."""
    new = shutil.copytree(home, home.with_name(f"{home.name}.new"), symlinks=True)
    (new / "_internal/build-id").write_text("0123456789abcdef\n")
    write = f'. "{_VERSIONS}" && write_programs "$0" "$1"'
    subprocess.run(["/bin/sh", "-ec", write, new, home], check=True, timeout=60)
    shutil.rmtree(home)
    new.rename(home)


def is_alive(pid: int) -> bool:
    """Return whether a process has not ended, even if nobody has asked for its exit status yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def list_files(home: Path) -> list[Path]:
    """Return what the engine of a folder has in /run."""
    place = EngineLocation(str(home))
    return sorted(Path(place.directory).glob(f"{place.name}.*"))


class EngineCommand:
    """The command of one folder.

    Args:
        home: the folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = home / "shibafu"

    def __enter__(self) -> "EngineCommand":
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run([self.program, "engine", "stop"], check=False, capture_output=True, timeout=120)
        for path in list_files(self.home):
            path.unlink()

    def start(self, *words: str | Path, **env: str) -> "subprocess.Popen[str]":
        """Begin to run a subcommand, with nothing but `env` in its environment."""
        return subprocess.Popen(
            [self.program, "engine", *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path, status: int | None = 0) -> str:
        """Run a subcommand, which must end with `status`, if one is given.

        Returns:
            What it said, all of it on one stream.
        """
        ended = self.start(*words)
        out, err = ended.communicate(timeout=120)
        assert status in (None, ended.returncode), (words, ended.returncode, out, err)
        assert not (out and err)
        return out + err

    def json(self, word: str, status: int | None = 0) -> dict[str, Any]:
        """Run a subcommand with `--format json`; return what it printed, which is what its schema says."""
        found: dict[str, Any] = validated(
            f"engine {word}", loads(self.run(word, "--format", "json", status=status))
        )
        return found

    def read_status(self, status: int | None = 0) -> dict[str, Any]:
        """Return what `status` tells."""
        return self.json("status", status)
