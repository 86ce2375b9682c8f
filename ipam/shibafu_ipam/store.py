"""The leases of a network on disk, exactly as host-local keeps them; both programs may use one store.

    <dataDir>/<network>/
        10.1.0.7              a lease: the container's ID, CR LF, the interface's name
        last_reserved_ip.0    the address that the first range set gave last
        lock                  flock(2), held exclusively throughout every operation

This module knows files and no policy: neither which address is next nor which lease is still needed.
"""

import fcntl
import os
from errno import ENOSPC

from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.ip import Address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATOR = b"\r\n"
# A crash of the machine may leave a file whose blocks were never written: empty, or full of zeros.
_NOTHING = b"\0 \t\r\n\v\f"
_LAST_RESERVED = "last_reserved_ip."
_MAX_LEASE = 4096


class Lease:
    """An address and who has it.

    Args:
        address: the address.
        container_id: CNI_CONTAINERID.
        ifname: CNI_IFNAME; empty for leases of old versions of host-local, which did not write it.
    """

    __slots__ = ("address", "container_id", "ifname")

    def __init__(self, address: Address, container_id: str, ifname: str) -> None:
        self.address = address
        self.container_id = container_id
        self.ifname = ifname

    @property
    def owner(self) -> tuple[str, str]:
        """The attachment: container ID and interface name."""
        return self.container_id, self.ifname


class Store:
    """The directory of one network.

    Args:
        data_dir: the directory of all networks, an absolute path.
        network: the network's name, a valid identifier.
    """

    __slots__ = ("_lock", "directory", "index_directory")

    def __init__(self, data_dir: str, network: str) -> None:
        self.directory = f"{data_dir}/{network}"
        # Beside the networks: host-local takes every file in a network's directory for a lease, and a
        # network's name cannot begin with a dot.
        self.index_directory = f"{data_dir}/.shibafu/{network}"
        self._lock = -1

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # The lock, which the end of `with` gives up

    def lock_or_create(self) -> None:
        """Wait until nobody else works on the store; make its directory if it is not there."""
        while not self._try_lock(os.O_RDWR | os.O_CREAT):
            os.makedirs(self.directory, 0o755, exist_ok=True)

    def lock_existing(self) -> bool:
        """Wait until nobody else works on the store; return whether there is one."""
        return self._try_lock(os.O_RDWR | os.O_CREAT)

    def lock_for_reading(self) -> None:
        """Keep others from changing the store; where nobody ever locked it there is nothing to keep."""
        self._try_lock(os.O_RDONLY)

    def _try_lock(self, flags: int) -> bool:
        while True:
            try:
                lock = open_file(f"{self.directory}/lock", flags, 0o750)
            except FileNotFoundError:
                return False
            fcntl.flock(lock, fcntl.LOCK_EX)
            # While this call waited, the directory may have been deleted with the lock in it.
            if os.fstat(lock).st_nlink:
                self._lock = lock
                return True
            os.close(lock)

    # Leases

    def lease_path(self, address: Address) -> str:
        """Return the path of an address's lease."""
        return f"{self.directory}/{address}"

    def lease_add(self, lease: Lease) -> bool:
        """Write a lease, whole or not at all; return False when the address has one.

        The file is written aside and linked to its name: unlike rename(2), link(2) replaces nothing.
        """
        aside = f"{self.index_directory}/aside"
        # What a killed call left may be the other name of its lease: never write into that.
        remove_file(aside)
        try:
            write_file(aside, os.fsencode(lease.container_id) + _SEPARATOR + os.fsencode(lease.ifname))
            os.link(aside, self.lease_path(lease.address))
        except FileExistsError:
            return False
        finally:
            remove_file(aside)
        return True

    def lease_del(self, address: Address) -> None:
        """Remove a lease; it is no error when there is none."""
        remove_file(self.lease_path(address))

    def lease_read(self, address: Address) -> Lease | None:
        """Return the lease of an address; None when there is none, or nothing legible in it."""
        return _parse_lease(address, read_file(self.lease_path(address), _MAX_LEASE) or b"")

    def leases(self) -> "Iterator[tuple[Address, Lease | None]]":
        """Read all leases, with None for those in which there is nothing legible."""
        for name in os.listdir(self.directory):
            try:
                address = parse_address(name)
            except ValueError:
                continue
            # host-local, too, looks for an address under its canonical name only.
            if str(address) == name:
                yield address, self.lease_read(address)

    # Round robin

    def read_last_reserved(self, number: int) -> Address | None:
        """Return what range set `number` gave last; None when that is unknown."""
        content = read_file(f"{self.directory}/{_LAST_RESERVED}{number}", _MAX_LEASE) or b""
        try:
            return parse_address(content.decode("ascii", "replace"))
        except ValueError:
            return None

    def write_last_reserved(self, number: int, address: Address) -> None:
        """Remember what range set `number` gave last."""
        write_file(f"{self.directory}/{_LAST_RESERVED}{number}", str(address).encode())


def _parse_lease(address: Address, body: bytes) -> Lease | None:
    container_id, _, ifname = body.strip(_NOTHING).partition(_SEPARATOR)
    return Lease(address, os.fsdecode(container_id), os.fsdecode(ifname)) if container_id else None


# Files: never through a symbolic link, which somebody else may have put there


def open_file(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file; the caller closes the descriptor."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def read_file(path: str, limit: int) -> bytes | None:
    """Return the content of a file, up to `limit` bytes; None when there is no file."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # A large limit would be as much memory. Small files are not asked: those of the kernel have no size.
        size = limit if limit <= _MAX_LEASE else min(limit, os.fstat(descriptor).st_size)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes) -> None:
    """Write a file whole.

    Raises:
        OSError: also when the disk took only a part of it.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(ENOSPC, os.strerror(ENOSPC), path)
        # Not O_TRUNC: ext4 takes a file that was emptied first for one to be flushed to the disk at once.
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def remove_file(path: str) -> bool:
    """Remove a file; return whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def describe_failure(doing: str, error: OSError) -> CniError:
    """Return the error object's sentence for a failed access to the disk."""
    where = f"{error.filename}: " if error.filename else ""
    return CniError(
        IO_FAILURE,
        f"cannot {doing}: {where}{(error.strerror or str(error)).lower()}",
        'the leases are in the directory "dataDir" of the "ipam" section, which must be writable',
    )
