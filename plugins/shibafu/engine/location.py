"""Where the engine of an installation is: each folder of executables has one of its own."""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.names import calc_digest
from shibafu.lean.files import read_file

# Not below /run/shibafu, whose children are network namespaces.
DIRECTORY = "/run/shibafu-engine"
_BYTES = 8


class EngineLocation:
    """The files of one engine.

    Args:
        home: the folder that the executables are in.
        directory: where engines listen.
    """

    __slots__ = ("directory", "home", "name")

    def __init__(self, home: str, directory: str = DIRECTORY) -> None:
        self.home = home
        self.directory = directory
        self.name = calc_name(home)

    @property
    def calls(self) -> str:
        """The socket that launchers connect to; packaging/install/versions.sh has written it into them."""
        return f"{self.directory}/{self.name}.sock"

    @property
    def status(self) -> str:
        """The socket that sends a JSON object to each client; see `Parent.describe`."""
        return f"{self.directory}/{self.name}.status"

    @property
    def lock(self) -> str:
        """The file that the running engine has locked."""
        return f"{self.directory}/{self.name}.lock"

    @property
    def log(self) -> str:
        """The messages of an engine that the command has started."""
        return f"{self.directory}/{self.name}.log"

    def make(self) -> None:
        """Create the directory unless it exists, and make sure that no other user can write to it.

        Raises:
            CniError: it belongs to somebody else.
            OSError: it cannot be made.
        """
        make_directory(self.directory, 0o700)
        secure_directories(self.directory)

    def read_build(self) -> str:
        """Return the id of the build that is installed here; empty when there is none."""
        try:
            return (read_file(f"{self.home}/_internal/build-id", 64) or b"").decode().strip()
        except OSError:
            return ""

    def read_identity(self) -> tuple[int, int, int]:
        """Return what changes when another build replaces this one; zeros if there is none.

        They are of its file `build-id`: the device, the inode, and the time of its last change in ns.
        """
        try:
            found = os.stat(f"{self.home}/_internal/build-id")
        except OSError:
            return 0, 0, 0
        return found.st_dev, found.st_ino, found.st_mtime_ns


def calc_name(home: str) -> str:
    """Return the name of a folder's engine; packaging/install/versions.sh calculates it, too, by b2sum(1)."""
    return calc_digest(home, size=_BYTES)
