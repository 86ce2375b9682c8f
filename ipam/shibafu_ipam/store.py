"""The leases of a network on disk, exactly as host-local keeps them; both programs may use one store.

    <dataDir>/<network>/
        10.1.0.7              a lease: the container's ID, CR LF, the interface's name
        last_reserved_ip.0    the address that the first range set gave last
        lock                  flock(2), held exclusively throughout every operation

This module knows files and no policy: neither which address is next nor which lease is still needed.
"""

import fcntl
import os
from errno import EACCES, EIO, EISDIR, ELOOP, ENOSPC, ENXIO, EOPNOTSUPP, EPERM, EXDEV

from shibafu.cni.ip import Address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.cni.errors import CniError

_SEPARATOR = b"\r\n"
# A crash of the machine may leave a file whose blocks were never written: empty, or full of zeros.
_NOTHING = b"\0 \t\r\n\v\f"
_LAST_RESERVED = "last_reserved_ip."
# What is read at once, and the most that is read of a lease.
_USUAL_SIZE = 4096
MAX_LEASE = 1 << 16
# What is called like an address and is no file that could be read: a directory, a symbolic link, a socket, a
# file that is locked away or on a bad sector.
_UNREADABLE = (EISDIR, ELOOP, ENXIO, EACCES, EPERM, EIO)
# link(2) between two file systems, or on one that has no links.
_NO_LINKS = (EXDEV, EPERM, EOPNOTSUPP)


class Lease:
    """An address and who has it.

    Args:
        address: the address.
        container_id: CNI_CONTAINERID; empty for what cannot be read, and takes its address all the same.
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

        The file is written aside and linked to its name: unlike rename(2), link(2) replaces nothing. Where
        the network's directory is on another file system than the index, it is written in its place; a
        call that is killed meanwhile leaves a file without a legible owner.
        """
        aside = f"{self.index_directory}/aside"
        content = os.fsencode(lease.container_id) + _SEPARATOR + os.fsencode(lease.ifname)
        # What a killed call left may be the other name of its lease: never write into that.
        remove_file(aside)
        try:
            write_file(aside, content)
            os.link(aside, self.lease_path(lease.address))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._lease_add_in_place(lease.address, content)
        finally:
            remove_file(aside)
        return True

    def _lease_add_in_place(self, address: Address, content: bytes) -> bool:
        path = self.lease_path(address)
        try:
            write_file(path, content, os.O_EXCL)
        except FileExistsError:
            return False
        except OSError:
            remove_file(path)
            raise
        return True

    def lease_del(self, address: Address) -> None:
        """Remove a lease; it is no error when there is none."""
        remove_file(self.lease_path(address))

    def lease_read(self, address: Address) -> Lease | None:
        """Return the lease of an address; None when there is none, or nothing legible in it.

        What is there and cannot be read is somebody's, nobody knows whose.
        """
        try:
            return _parse_lease(address, read_file(self.lease_path(address), MAX_LEASE) or b"")
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            return Lease(address, "", "")

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
        content = read_file(f"{self.directory}/{_LAST_RESERVED}{number}", _USUAL_SIZE) or b""
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
        # Whatever somebody has put there: the other end of a pipe is not waited for.
        descriptor = open_file(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        # Not by the size that the file system states: files of the kernel have none.
        content = os.read(descriptor, min(limit, _USUAL_SIZE))
        if len(content) == _USUAL_SIZE < limit:
            size = min(limit, os.fstat(descriptor).st_size)
            content += os.read(descriptor, max(size - _USUAL_SIZE, 0))
        return content
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def write_file(path: str, content: bytes, flags: int = 0) -> None:
    """Write a file whole.

    Raises:
        OSError: also when the disk took only a part of it.
    """
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | flags)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        # Not O_TRUNC: ext4 takes a file that was emptied first for one to be flushed to the disk at once.
        os.ftruncate(descriptor, len(content))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def remove_file(path: str) -> bool:
    """Remove a file; return whether there was one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def describe_failure(doing: str, error: OSError) -> "CniError":
    """Return the error object's sentence for a failed access to the disk."""
    from shibafu.cni.mishaps import describe_os_error

    return describe_os_error(
        doing,
        error,
        'the leases are in the directory "dataDir" of the "ipam" section, which must be writable',
    )
