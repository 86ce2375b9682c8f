"""What makes finding a lease and a free address cost the same however many leases there are.

    <dataDir>/.shibafu/<network>/
        stamp             the boot in which the index was made; its mtime says what it is valid for
        by-container/     a record for each attachment: who, which addresses, which namespace
        pages/            which addresses are taken, see `pages`
        aside             a lease that is being written

The index is a hint: what it says of a lease is verified against the lease, and it is made anew when
anybody else has changed the network's directory. That shows in the directory's mtime: after each
operation the directory and the stamp get the same one, which no later change by the kernel can
produce. The same comparison finds an operation that was killed before its end.
"""

import os
import time

from shibafu.cni.ip import Address, parse_address
from shibafu.cni.names import calc_digest
from shibafu_ipam.pages import FilePages
from shibafu_ipam.store import Lease, Store, open_file, read_file, remove_file, write_file

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_MAX_RECORD = 1 << 16
# Stamps lie this many nanoseconds in the past. The kernel stamps changes with the present, cut to
# the file system's granularity (at most 2 s, and a tick of the clock), so that none can look like ours.
STAMP_LAG = 3_000_000_000
_NEVER = 0


class Record:
    """What the index knows of an attachment.

    Args:
        container_id: CNI_CONTAINERID.
        ifname: CNI_IFNAME; empty for the leases of old versions of host-local.
        addresses: the addresses that it has.
        netns: the path of its network namespace; empty when that is unknown.
    """

    __slots__ = ("addresses", "container_id", "ifname", "netns")

    def __init__(self, container_id: str, ifname: str, addresses: list[Address], netns: str = "") -> None:
        self.container_id = container_id
        self.ifname = ifname
        self.addresses = addresses
        self.netns = netns

    @property
    def owner(self) -> tuple[str, str]:
        """The attachment: container ID and interface name."""
        return self.container_id, self.ifname

    def leases(self) -> list[Lease]:
        """Return the leases that the attachment has, if the record is right."""
        return [Lease(address, self.container_id, self.ifname) for address in self.addresses]


class Index:
    """The index of one network. Its store must be locked.

    Args:
        store: the leases.
        boot_id: the running boot; by default what the kernel says.
    """

    __slots__ = ("_stamp", "boot_id", "directory", "pages", "stamped_at", "stamped_boot", "store")

    def __init__(self, store: Store, boot_id: str = "") -> None:
        self.store = store
        self.directory = store.index_directory
        self.pages = FilePages(f"{self.directory}/pages")
        self.boot_id = boot_id or (read_file(_BOOT_ID, 64) or b"").decode("ascii").strip()
        # The boot and the time of the last operation that ended; empty and 0 when there is no index.
        self.stamped_boot = ""
        self.stamped_at = _NEVER
        self._stamp = -1
        self._open_stamp()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close_stamp()

    # Validity

    def is_valid(self) -> bool:
        """Tell whether the index was made in this boot and nobody changed the directory since."""
        return (
            self._stamp >= 0
            and self.stamped_boot == self.boot_id
            and os.stat(self.store.directory).st_mtime_ns == self.stamped_at
        )

    def begin(self) -> None:
        """Make the index invalid until `commit`: who is killed in between leaves one that says so."""
        os.utime(self.store.directory, ns=(_NEVER, _NEVER))

    def commit(self) -> None:
        """Make the index valid, after the leases and the index have been changed alike."""
        now = time.time_ns() - STAMP_LAG
        os.utime(self.store.directory, ns=(now, now))
        os.utime(self._stamp, ns=(now, now))

    def write_stamp(self) -> None:
        """Say that the index is of this boot; it is valid with the next `commit`."""
        self._close_stamp()
        path = f"{self.directory}/stamp"
        write_file(path + ".new", self.boot_id.encode())
        os.rename(path + ".new", path)
        self._open_stamp()

    def ensure_directories(self) -> None:
        """Make the index's directories, for root's eyes only: records tell of other people's containers."""
        for name in ("by-container", "pages"):
            path = f"{self.directory}/{name}"
            if not os.path.isdir(path):
                os.makedirs(path, 0o700)
                os.chmod(os.path.dirname(self.directory), 0o700)
                os.chmod(self.directory, 0o700)

    def _open_stamp(self) -> None:
        try:
            self._stamp = open_file(f"{self.directory}/stamp", os.O_RDONLY)
        except FileNotFoundError:
            return
        self.stamped_at = os.fstat(self._stamp).st_mtime_ns
        self.stamped_boot = os.read(self._stamp, 64).decode("ascii", "replace")

    def _close_stamp(self) -> None:
        if self._stamp >= 0:
            os.close(self._stamp)
            self._stamp = -1

    # Records

    def record_path(self, container_id: str, ifname: str) -> str:
        """Return the path of an attachment's record."""
        return f"{self.directory}/by-container/{calc_digest(container_id, ifname, size=16)}"

    def record_read(self, container_id: str, ifname: str) -> Record | None:
        """Return what is recorded of an attachment; the leases may have changed since."""
        content = read_file(self.record_path(container_id, ifname), _MAX_RECORD)
        record = _parse_record(content) if content else None
        return record if record is not None and record.owner == (container_id, ifname) else None

    def record_write(self, record: Record) -> None:
        """Remember an attachment."""
        # The namespace is last because only a path may hold a line's end.
        addresses = " ".join(str(address) for address in record.addresses)
        text = f"{record.container_id}\n{record.ifname}\n{addresses}\n{record.netns}"
        write_file(self.record_path(*record.owner), os.fsencode(text))

    def record_del(self, container_id: str, ifname: str) -> None:
        """Forget an attachment."""
        remove_file(self.record_path(container_id, ifname))


def _parse_record(content: bytes) -> Record | None:
    try:
        container_id, ifname, addresses, netns = os.fsdecode(content).split("\n", 3)
        return Record(container_id, ifname, [parse_address(a) for a in addresses.split()], netns)
    except ValueError:
        return None
