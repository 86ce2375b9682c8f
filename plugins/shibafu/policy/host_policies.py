"""The policies that a host enforces, compiled, where calls of plugins find them.

    /var/lib/shibafu/policy/compiled.json               of the network namespace that process 1 is in
    /var/lib/shibafu/policy/<inode>.<cookie>.<boot>.json    of any other, which ends when the host does

The file is there as long as there are policies, or networks whose configurations state some, and the
directory as long as any namespace has a file: a call on a host without any pays for not finding that. The
first one outlasts a restart of the host, after which the first container that policies are about brings the
table back.
The lock is held exclusively to change the whole table, and shared to change one container's part of it.
"""

import os

from shibafu.cni.boot import read_boot_id
from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.lock import Lock
from shibafu.lean.files import read_file, remove_file, write_file
from shibafu.lean.json import dumps_lines, loads
from shibafu.policy.compiled import Compiled
from shibafu.resource.home import POLICIES, find_policies_file

_LARGEST = 256 << 20
# What was read last, by the file, with what tells whether that has been replaced: ADD asks up to three times.
# The watcher keeps it from one look to the next: writers put another file in its place, and readers change
# nothing of what they get. Each call to the engine is a process of its own; the path names the namespace.
_known: dict[str, tuple[tuple[int, int, int], Compiled]] = {}


class UnreadablePoliciesError(CniError):
    """There are policies, and nobody knows which: not the same as none."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            IO_FAILURE,
            f"cannot read the network policies in {path}: {reason}",
            "`shibafu policy apply` writes them again",
        )


class HostPolicies:
    """The compiled policies of the network namespace that this process is in.

    Raises:
        CniError: others could have forged them.
    """

    __slots__ = ("_inode", "_path")

    def __init__(self) -> None:
        self._inode = os.stat("/proc/self/ns/net").st_ino
        self._path = find_policies_file(self._inode)
        secure_directories(os.path.dirname(POLICIES), POLICIES)

    def lock(self, shared: bool = False) -> Lock:
        """Return the lock, to be held by `with`. Programs that are started meanwhile hold it, too."""
        return Lock(f"policy-{self._inode}", "the network policies", shared=shared)

    def read(self) -> Compiled | None:
        """Return the policies; None if there are none.

        Raises:
            UnreadablePoliciesError: they are damaged, or another release has written them.
        """
        try:
            stamp = self._read_stamp()
            if self._path in _known and _known[self._path][0] == stamp:
                return _known[self._path][1]
            content = self.read_bytes()
            if content is None:
                return None
            document = loads(content)
            if not isinstance(document, dict):
                raise ValueError("not a JSON object")
            _known[self._path] = stamp, (compiled := Compiled.from_json(document))
            return compiled
        except KeyError as error:
            raise UnreadablePoliciesError(self._path, f"{error} is missing") from None
        except OSError as error:
            raise UnreadablePoliciesError(self._path, error.strerror or "") from None
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise UnreadablePoliciesError(self._path, str(error)) from None

    def _read_stamp(self) -> tuple[int, int, int]:
        """Return what a file that takes this one's place differs in; zeros if there is none."""
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return 0, 0, 0
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read_bytes(self) -> bytes | None:
        """Return the file as it is; None if there is none.

        Raises:
            OSError: there is one, and it cannot be read.
        """
        return read_file(self._path, _LARGEST)

    def write(self, compiled: Compiled) -> None:
        """Remember the policies; calls that come from now on apply them."""
        self.write_bytes(dumps_lines(compiled.to_json()).encode())

    def write_bytes(self, content: bytes | None) -> None:
        """Write the file whole, or remove it if there is nothing to write."""
        if content is None:
            remove_file(self._path)
            try:
                os.rmdir(POLICIES)
            except OSError:
                pass  # it is missing, or other namespaces have policies
            return
        try:
            self._replace(content)
        except FileNotFoundError:
            # The last policies of another namespace have just gone, and the directory with them.
            self._replace(content)
        _remove_stale()

    def _replace(self, content: bytes) -> None:
        make_directory(POLICIES, 0o700, parents=0o700)
        # What is to outlast a restart is on the disk before it takes the former one's place.
        write_file(f"{self._path}.new", content, os.O_DSYNC)
        os.rename(f"{self._path}.new", self._path)


def _remove_stale() -> None:
    """Remove the files of namespaces that went with former boots."""
    boot = read_boot_id()
    for name in os.listdir(POLICIES):
        if boot and not name.startswith("compiled.") and f".{boot}." not in name:
            remove_file(f"{POLICIES}/{name}")
