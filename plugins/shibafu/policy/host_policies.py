"""The policies that a host enforces, compiled, where calls of plugins find them.

    /var/lib/shibafu/policy/compiled.json               of the network namespace that process 1 is in
    /run/shibafu/policy/<host's namespace>/compiled.json    of any other, which ends when the host does

The file is there as long as there are policies, or networks whose configurations state some: a call on a host
without any pays for not finding it. It outlasts a restart of the host, after which the first container that
policies are about brings the table back.
The lock is held exclusively to change the whole table, and shared to change one container's part of it.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.lock import Lock
from shibafu.lean.files import read_file, remove_file, write_file
from shibafu.lean.json import dumps_lines, loads
from shibafu.policy.compiled import Compiled
from shibafu.resource.home import KEPT_POLICIES, calc_mark, calc_policies_path, is_first_namespace

# Where the suite remembers what it has made.
ROOT = "/run/shibafu"
_KEPT = "/var/lib/shibafu"
_LARGEST = 256 << 20


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

    __slots__ = ("_inode", "_is_kept", "_path")

    def __init__(self) -> None:
        self._inode = os.stat("/proc/self/ns/net").st_ino
        self._is_kept = is_first_namespace()
        self._path = KEPT_POLICIES if self._is_kept else calc_policies_path(ROOT, self._inode)
        own = os.path.dirname(self._path)
        parents = (_KEPT,) if self._is_kept else (ROOT, os.path.dirname(own))
        secure_directories(*parents, own)

    def lock(self, shared: bool = False) -> Lock:
        """Return the lock, to be held by `with`. Programs that are started meanwhile hold it, too."""
        return Lock(f"policy-{self._inode}", "the network policies", shared=shared)

    def read(self) -> Compiled | None:
        """Return the policies; None if there are none, or a namespace that is gone has left them.

        Raises:
            UnreadablePoliciesError: they are damaged, or another release has written them.
        """
        try:
            content = self.read_bytes()
            if content is None:
                return None
            document = loads(content)
            if not isinstance(document, dict):
                raise ValueError("not a JSON object")
            # Inode numbers are used again.
            if not self._is_kept and document.get("netns") != calc_mark():
                return None
            return Compiled.from_json(document)
        except KeyError as error:
            raise UnreadablePoliciesError(self._path, f"{error} is missing") from None
        except OSError as error:
            raise UnreadablePoliciesError(self._path, error.strerror or "") from None
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise UnreadablePoliciesError(self._path, str(error)) from None

    def read_bytes(self) -> bytes | None:
        """Return the file as it is; None if there is none.

        Raises:
            OSError: there is one, and it cannot be read.
        """
        return read_file(self._path, _LARGEST)

    def write(self, compiled: Compiled) -> None:
        """Remember the policies; calls that come from now on apply them."""
        self.write_bytes(dumps_lines({"netns": calc_mark(), **compiled.to_json()}).encode())

    def write_bytes(self, content: bytes | None) -> None:
        """Write the file whole, or remove it if there is nothing to write."""
        directory = os.path.dirname(self._path)
        if content is None:
            remove_file(self._path)
            try:
                os.rmdir(directory)
            except OSError:
                pass  # it is missing
            return
        make_directory(directory, 0o700, parents=0o700 if self._is_kept else 0o755)
        # What is to outlast a restart is on the disk before it takes the former one's place.
        write_file(f"{self._path}.new", content, os.O_DSYNC if self._is_kept else 0)
        os.rename(f"{self._path}.new", self._path)
