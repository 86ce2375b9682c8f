"""The policies that a host enforces, compiled, where calls of plugins find them.

    /run/shibafu/policy/<host's namespace>/compiled.json

The file is there as long as there are policies: a call on a host without any pays for not finding it. The
lock is held exclusively to change the whole table, and shared to change one container's part of it.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.lock import Lock
from shibafu.lean.files import read_file, remove_file, write_file
from shibafu.lean.json import dumps_lines, loads
from shibafu.policy.compiled import Compiled
from shibafu.resource.home import calc_mark

# Where the suite remembers what it has made.
ROOT = "/run/shibafu"
_FILE = "compiled.json"
_LARGEST = 256 << 20


class HostPolicies:
    """The compiled policies of the network namespace that this process is in.

    Raises:
        CniError: others could have forged them.
    """

    __slots__ = ("_directory", "_inode", "_root")

    def __init__(self) -> None:
        self._inode = os.stat("/proc/self/ns/net").st_ino
        self._root = f"{ROOT}/policy"
        self._directory = f"{self._root}/{self._inode}"
        secure_directories(ROOT, self._root, self._directory)

    def lock(self, shared: bool = False) -> Lock:
        """Return the lock, to be held by `with`. Programs that are started meanwhile hold it, too."""
        return Lock(f"policy-{self._inode}", "the network policies", shared=shared)

    def read(self) -> Compiled | None:
        """Return the policies; None if there are none, or another namespace or release has left them."""
        content = self.read_bytes()
        try:
            document = loads(content) if content else None
            if not isinstance(document, dict) or document.get("netns") != calc_mark():
                return None
            return Compiled.from_json(document)
        except (ValueError, KeyError, TypeError):
            return None

    def read_bytes(self) -> bytes:
        """Return the file as it is; empty if there is none."""
        return read_file(f"{self._directory}/{_FILE}", _LARGEST) or b""

    def write(self, compiled: Compiled) -> None:
        """Remember the policies; calls that come from now on apply them."""
        self.write_bytes(dumps_lines({"netns": calc_mark(), **compiled.to_json()}).encode())

    def write_bytes(self, content: bytes) -> None:
        """Write the file whole, or remove it if there is nothing to write."""
        path = f"{self._directory}/{_FILE}"
        if not content:
            remove_file(path)
            try:
                os.rmdir(self._directory)
            except OSError:
                pass  # it is missing
            return
        make_directory(self._directory, 0o700, parents=0o755)
        write_file(f"{path}.new", content)
        os.rename(f"{path}.new", path)
