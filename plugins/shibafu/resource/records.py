"""What is attached to a network: records in /run of what the kernel has.

    /run/shibafu/<host's namespace>/
        .netns                 which namespace that is (`home`)
        <network>/
            veth1a2b3c4d5e6    an attachment, named as its link on the host (`record`)
            firewall           the rules that were set up for the network
            verified           when they were last looked at (`netfilter.verification`)
            verified-...       likewise the tables of `macspoofchk`, by link, and of `internal`
            paused             that nothing of the network is to be restored (`pause`)
            lock               held shared by ADD, exclusive by calls that change the rules

A record is written before the first link of its attachment and removed after the last, so that whatever a
killed call left behind is found. Nothing counts: whether there are still containers, the kernel is asked.
"""

import fcntl
import os
from _socket import if_nametoindex
from errno import ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EROFS

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.lock import lock_file
from shibafu.lean.files import NotRegularError, open_file, read_file, remove_file
from shibafu.lean.json import dumps, loads
from shibafu.resource.home import (
    calc_mark,
    find_home,
    has_policies,
    list_network_directories,
    mark_home,
    remove_empty_home,
)
from shibafu.resource.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.socket import NetlinkSocket

_ROOT = "/run/shibafu"
_LINK_PREFIX = "veth"
_HINT = "verified"
_PAUSE = "paused"
_LARGEST_RECORD = 16 << 20


class NetworkState:
    """The records of one network in the network namespace that this process is in.

    Args:
        network: the network's name, a valid identifier.
        root: the directory of all records.
        sock: a socket of that namespace; without one, another may have to be made.

    Raises:
        CniError: others could have forged them.
    """

    __slots__ = ("_has_mark", "_home", "_lock", "_mark", "directory", "network")

    def __init__(self, network: str, root: str = _ROOT, sock: "NetlinkSocket | None" = None) -> None:
        secure_directories(root)
        self._home, self._has_mark, self._mark = find_home(root, sock)
        self.network = network
        self.directory = f"{self._home}/{network}"
        self._lock = -1
        secure_directories(self._home, self.directory)

    # Attachments

    def write_attachment(self, link: str, record: Record) -> None:
        """Write the record of the attachment whose link on the host is named `link`."""
        self._write(link, record.to_bytes())
        if not self._has_mark:
            mark_home(self._home, self._mark or calc_mark())
            self._has_mark = True

    def update_attachment(self, link: str, record: Record) -> None:
        """Update the record of an attachment.

        Raises:
            FileNotFoundError: it was forgotten meanwhile.
        """
        self._write(link, record.to_bytes(), os.O_WRONLY)

    def remove_attachment(self, link: str) -> bool:
        """Forget an attachment; return whether it was known."""
        return self._remove(link)

    def attachments(self) -> list[str]:
        """Return the links of all recorded attachments."""
        try:
            return [name for name in os.listdir(self.directory) if name.startswith(_LINK_PREFIX)]
        except OSError as error:
            if error.errno not in (ENOENT, ENAMETOOLONG, ENOTDIR):
                raise
            return []

    def read_attachment(self, link: str) -> Record:
        """Return the record; an empty one if there is none."""
        return Record.parse(self._read(link))

    def find_attachment(self, link: str) -> Record | None:
        """Return the record, an empty one if it is not whole; None if there is none.

        It is looked for after it was read: one that another call removes meanwhile is none.
        """
        record = self.read_attachment(link)
        return record if self.remembers(link) else None

    def holds(self, link: str, record: Record) -> bool:
        """Return whether the record is exactly this one, and so has not been changed."""
        return self._read(link).rstrip(b" ") == record.to_bytes()

    def remembers(self, link: str) -> bool:
        """Return whether there is a record of an attachment, whole or not."""
        return os.path.lexists(f"{self.directory}/{link}")

    def knows(self, link: str) -> bool:
        """Return whether there is anything of an attachment: else another plugin may have made it."""
        return self.remembers(link) or link_exists(link)

    def is_in_use(self, besides: str = "") -> bool:
        """Return whether the link of any recorded attachment exists, except one that is about to go."""
        return any(link != besides and link_exists(link) for link in self.attachments())

    def is_recorded(self, link: str) -> bool:
        """Return whether there is a record of an attachment to any network of the namespace."""
        try:
            names = self.networks()
        except FileNotFoundError:
            return False
        return any(os.path.lexists(f"{self._home}/{name}/{link}") for name in names)

    def networks(self) -> list[str]:
        """Return all networks of the namespace of which there are records.

        Raises:
            FileNotFoundError: there are none.
        """
        return list_network_directories(self._home)

    def has_policies(self) -> bool:
        """Return whether the host has network policies (`policy.host_policies`)."""
        return has_policies(self._home)

    # Firewall rules

    def write_rules(self, record: dict[str, object]) -> None:
        """Record the rules that are about to be, or have been, created."""
        self._write("firewall", dumps(record).encode())

    def read_rules(self) -> dict[str, object]:
        """Return the record of the rules; empty if there are none."""
        return self._read_rules("firewall")

    def versions_of_others(self, backend: str) -> set[int]:
        """Return the families, 4 or 6, in which other networks have rules made with a backend."""
        names = list_network_directories(self._home)
        records = [self._read_rules(f"../{name}/firewall") for name in names if name != self.network]
        found: set[int] = set()
        for record in records:
            if backend in str(record.get("backends")):
                versions = record.get("versions")
                found.update(versions if isinstance(versions, list) else (4, 6))
        return found

    def has_rules(self) -> bool:
        """Return whether the rules have a record, complete or not."""
        return os.path.lexists(f"{self.directory}/firewall")

    def remove_rules(self) -> None:
        """Forget the rules."""
        self._remove(_HINT)
        self._remove("firewall")

    # A pause

    def has_pause(self) -> bool:
        """Return whether there is one, in force or not."""
        return os.path.lexists(f"{self.directory}/{_PAUSE}")

    def read_pause(self) -> bytes:
        """Return what is recorded of it; empty if there is none."""
        return self._read(_PAUSE).rstrip(b" ")

    def write_pause(self, content: bytes) -> None:
        """Record it, in place of an earlier one. The network's lock must be held."""
        self._write(_PAUSE, content)

    def remove_pause(self) -> None:
        """Forget it."""
        self._remove(_PAUSE)

    # Hints of when rules were last found right

    def read_hint(self, what: str) -> bytes:
        """Return a hint; empty when there is none.

        Args:
            what: an attachment's link or another name; empty for the network's rules.
        """
        return self._read(_calc_hint(what)).rstrip(b" ")

    def identify_netns(self) -> str:
        """Return what identifies the namespace across boots; empty where that is unknown."""
        self._mark = self._mark or calc_mark()
        cookie, _, boot = self._mark.partition(".")
        return self._mark if cookie != "0" and boot else ""

    def write_hint(self, what: str, content: bytes, is_locked: bool) -> None:
        """Leave a hint, if possible.

        Args:
            what: see `read_hint`.
            content: the hint.
            is_locked: whether the network's lock is held. If not, only a hint that is there is changed: a new
                one could outlive the network's last record.
        """
        try:
            self._write(_calc_hint(what), content, os.O_WRONLY | (os.O_CREAT if is_locked else 0))
        except OSError:
            pass  # without it the rules are looked at again

    def remove_hint(self, what: str) -> None:
        """Remove a hint; see `read_hint`."""
        self._remove(_calc_hint(what))

    # The lock

    def lock_shared(self) -> None:
        """Keep the rules from being changed by others, until `unlock` or the end of the process.

        Raises:
            CniError: the lock is held by others for long; so does `lock_exclusive`.
        """
        self._flock(fcntl.LOCK_SH)

    def lock_exclusive(self) -> None:
        """Wait for all others and keep them out. A shared lock that was held is lost on the way."""
        self._flock(fcntl.LOCK_EX)

    def try_lock_exclusive(self) -> bool:
        """Lock exclusively if no one else has the lock; otherwise a shared lock that was held is lost."""
        try:
            self._flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            return False
        return True

    def hand_down_lock(self, wanted: bool) -> None:
        """Say whether programs that are started from now on hold the lock too, for as long as they run.

        Should this process be killed, nobody changes the rules before such a program has finished.
        """
        os.set_inheritable(self._lock, wanted)

    def hold_shared(self) -> bool:
        """Lock shared unless the lock is held already; return whether it is for this caller to unlock."""
        is_free = self._lock < 0
        if is_free:
            self.lock_shared()
        return is_free

    def unlock(self) -> None:
        """Give the lock up."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def unlock_for_all(self) -> None:
        """Give the lock up, also for programs that it was handed down to: they only have to end."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self.unlock()

    def _flock(self, operation: int) -> None:
        while True:
            if self._lock < 0:
                self._lock = self._open_lock()
            if operation & fcntl.LOCK_NB:
                fcntl.flock(self._lock, operation)
            else:
                lock_file(self._lock, operation, f"network {self.network}")
            # `remove_if_unused` may have deleted the file while this process waited.
            if os.fstat(self._lock).st_nlink:
                return
            self.unlock()

    def _open_lock(self) -> int:
        try:
            return self._open("lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno != EROFS or not os.path.isdir(self.directory):
                raise
        # Rules can go all the same.
        try:
            return self._open("lock", os.O_RDONLY)
        except FileNotFoundError:
            return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    # Files

    def remove_if_unused(self) -> None:
        """Delete the directory of a network of which nothing is left. The lock must not be held shared."""
        if not os.path.isdir(self.directory):
            if self._has_mark:
                remove_empty_home(self._home)  # a call was killed before it got to that
            return
        if self.attachments() or self.read_rules():
            return
        self.lock_exclusive()
        if not self.attachments() and not self.read_rules():
            # An empty one is left by a call that was killed before it wrote into it.
            self.remove_rules()
            # Hints of what belongs to no attachment, and of calls that were killed.
            for name in os.listdir(self.directory):
                if name.startswith(_HINT):
                    self._remove(name)
            self.remove_pause()
            self._remove("lock")
            try:
                os.rmdir(self.directory)
            except OSError:
                pass  # an ADD has begun meanwhile
            remove_empty_home(self._home)
        self.unlock()

    def _open(self, name: str, flags: int) -> int:
        while True:
            try:
                return open_file(f"{self.directory}/{name}", flags)
            except FileNotFoundError:
                if not flags & os.O_CREAT:
                    raise
                self._make_directory()
            except NotRegularError:
                if not flags & os.O_CREAT:
                    raise
                self._remove(name)

    def _make_directory(self) -> None:
        """Make the directory; the network's last DEL, at the same moment, may remove it again."""
        root = os.path.dirname(self._home)
        self._has_mark = False
        try:
            make_directory(root, 0o755)
            make_directory(self.directory, 0o700, parents=0o700)
        except FileNotFoundError:
            if not os.path.isdir(root):
                raise

    def _write(self, name: str, content: bytes, flags: int = os.O_WRONLY | os.O_CREAT) -> None:
        descriptor = self._open(name, flags)
        try:
            # Over what is there, in one system call: a killed process leaves the old record or the new one.
            size = os.fstat(descriptor).st_size
            content = content.ljust(size)
            if os.write(descriptor, content) != len(content):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            error.filename = f"{self.directory}/{name}"
            raise
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes:
        try:
            return read_file(f"{self.directory}/{name}", _LARGEST_RECORD) or b""
        except OSError:
            return b""

    def _read_rules(self, name: str) -> dict[str, object]:
        try:
            record = loads(self._read(name))
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}

    def _remove(self, name: str) -> bool:
        path = f"{self.directory}/{name}"
        try:
            return remove_file(path)
        except IsADirectoryError:
            from shibafu.cni.failures import remove_tree

            remove_tree(path)
            return True


def _calc_hint(what: str) -> str:
    return f"{_HINT}-{what}" if what else _HINT


def link_exists(name: str) -> bool:
    """Return whether the current namespace has a link of that name."""
    try:
        return if_nametoindex(name) > 0
    except OSError:
        return False
