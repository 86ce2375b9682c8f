"""The leases of a network on disk, exactly as host-local keeps them; both programs may use one store.

    <dataDir>/<network>/
        10.1.0.7              a lease: the container's ID, CR LF, the interface's name
        last_reserved_ip.0    the address that the first range set gave last
        lock                  flock(2), held exclusively by every operation but a CHECK that finds no fault

This module knows files and no policy: neither which address is next nor which lease is still needed.
"""

import fcntl
import os
from errno import EACCES, EIO, ENAMETOOLONG, EOPNOTSUPP, EPERM, EROFS, EXDEV

from shibafu.cni.directories import make_directory, secure_directories, secure_given_directory
from shibafu.cni.lock import lock_file
from shibafu.lean.files import NotRegularError, open_file, read_file, remove_file, write_file
from shibafu.lean.ip import Address, parse_address
from shibafu_ipam.config import DEFAULT_DATA_DIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shibafu.cni.errors import CniError

_SEPARATOR = b"\r\n"
# A crash of the machine may leave a file whose blocks were never written: empty, or full of zeros.
_NOTHING = b"\0 \t\r\n\v\f"
_LAST_RESERVED = "last_reserved_ip."
# The most that is read of a lease, and of an address.
MAX_LEASE = 1 << 16
_MAX_ADDRESS = 4096
# What cannot be read though it is a file: it is locked away, or on a bad sector.
_UNREADABLE = (EACCES, EPERM, EIO)
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

    __slots__ = ("_lock", "directory", "index_directory", "records_directory")

    def __init__(self, data_dir: str, network: str) -> None:
        self.directory = f"{data_dir}/{network}"
        # Beside the networks: host-local takes every file in a network's directory for a lease, and a
        # network's name cannot begin with a dot.
        self.index_directory = f"{data_dir}/.shibafu/{network}"
        self.records_directory = f"{self.index_directory}/records"
        self._lock = -1

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # The lock, which the end of `with` gives up

    def lock_or_create(self) -> None:
        """Wait until no other process uses the store; create its directory if it does not exist.

        Raises:
            CniError: somebody else works on it for long, or has put it there; so do the others.
        """
        while not self._try_lock(os.O_RDWR | os.O_CREAT):
            make_directory(self.directory, 0o755)

    def lock_existing(self) -> bool:
        """Wait until no other process uses the store; return False if there cannot be any lease.

        Without a lock there never was one, unless somebody has put it there. Where the lock cannot be made
        for such, since the disk is full or read-only, the directory stands for it.
        """
        if self._try_lock(os.O_RDWR):
            return True
        if next(self._addresses(), None) is None:
            return False
        try:
            return self._try_lock(os.O_RDWR | os.O_CREAT)
        except OSError:
            self._lock = self._open_directory()
            lock_file(self._lock, fcntl.LOCK_EX, f"address store {self.directory}")
            return True

    def lock_for_reading(self) -> None:
        """Keep others from changing the store; if it was never locked, there is nothing to protect."""
        self._try_lock(os.O_RDONLY)

    def _try_lock(self, flags: int) -> bool:
        self.secure()
        while True:
            try:
                lock = self._open_lock(flags)
            except (FileNotFoundError, NotADirectoryError):
                return False
            try:
                lock_file(lock, fcntl.LOCK_EX, f"address store {self.directory}")
            except BaseException:
                # Ctrl-C and SIGTERM, too, come while it waits.
                os.close(lock)
                raise
            # While this call waited, the directory may have been deleted with the lock in it.
            if os.fstat(lock).st_nlink:
                self._lock = lock
                return True
            os.close(lock)

    def _open_lock(self, flags: int) -> int:
        path = f"{self.directory}/lock"
        try:
            return open_file(path, flags, 0o750)
        except NotRegularError as error:
            from shibafu.cni.failures import warn

            warn(
                f"{path} {error.strerror}: remove it, because it does not lock the leases against host-local"
            )
            return self._open_directory()
        except OSError as error:
            if error.errno != EROFS or flags & os.O_CREAT:
                raise
            return open_file(path, os.O_RDONLY)

    def _open_directory(self) -> int:
        return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def secure(self) -> None:
        """Make sure that no other user can replace the lock or the leases.

        Raises:
            CniError: others can, or could.
        """
        data_dir = os.path.dirname(self.directory)
        if data_dir == DEFAULT_DATA_DIR:
            secure_given_directory(os.path.dirname(data_dir))
        secure_given_directory(data_dir)
        secure_directories(self.directory)
        secure_directories(os.path.dirname(self.index_directory), self.index_directory)

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
        """Remove a lease; that there is none is not an error."""
        remove_file(self.lease_path(address))

    def lease_read(self, address: Address) -> Lease | None:
        """Return the lease of an address; None when there is none, or nothing legible in it.

        What is there and cannot be read is somebody's, nobody knows whose.
        """
        try:
            return _parse_lease(address, read_file(self.lease_path(address), MAX_LEASE) or b"")
        except NotRegularError:
            pass
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
        return Lease(address, "", "")

    def has_leases(self, owner: tuple[str, str], addresses: list[Address]) -> bool:
        """Return whether these addresses, at least one, are leased to an attachment."""
        leases = map(self.lease_read, addresses)
        return bool(addresses) and all(lease is not None and lease.owner == owner for lease in leases)

    def leases(self) -> "Iterator[tuple[Address, Lease | None]]":
        """Read all leases, with None for those in which there is nothing legible."""
        for address in self._addresses():
            yield address, self.lease_read(address)

    def release_where(self, is_unneeded: "Callable[[Lease], bool]") -> list[OSError]:
        """Remove leases without the index, and return why some could not be removed."""
        errors = []
        for _, lease in list(self.leases()):
            if lease is not None and is_unneeded(lease):
                try:
                    self.lease_del(lease.address)
                except OSError as error:
                    errors.append(error)
        return errors

    def _addresses(self) -> "Iterator[Address]":
        """Return the addresses that files are named after."""
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno != ENAMETOOLONG:
                raise
            return  # no network of that name has ever had an address
        for name in names:
            try:
                address = parse_address(name)
            except ValueError:
                continue
            # host-local, too, looks for an address under its canonical name only.
            if str(address) == name:
                yield address

    # Round robin

    def read_last_reserved(self, number: int) -> Address | None:
        """Return what range set `number` gave last; None when that is unknown."""
        try:
            content = read_file(f"{self.directory}/{_LAST_RESERVED}{number}", _MAX_ADDRESS) or b""
            return parse_address(content.decode("ascii", "replace"))
        except (ValueError, OSError):
            return None

    def write_last_reserved(self, number: int, address: Address) -> None:
        """Record the address that range set `number` gave out last."""
        path = f"{self.directory}/{_LAST_RESERVED}{number}"
        try:
            write_file(path, str(address).encode())
        except NotRegularError as error:
            from shibafu.cni.failures import warn

            warn(f"{path} {error.strerror}: remove it, or addresses are reused sooner than necessary")


def _parse_lease(address: Address, body: bytes) -> Lease | None:
    container_id, _, ifname = body.strip(_NOTHING).partition(_SEPARATOR)
    return Lease(address, os.fsdecode(container_id), os.fsdecode(ifname)) if container_id else None


def describe_store_failure(doing: str, error: OSError) -> "CniError":
    """Return the error object's sentence for a failed access to the disk."""
    from shibafu.cni.failures import describe_os_error

    return describe_os_error(
        doing,
        error,
        'the leases are kept in "dataDir" of the "ipam" section, which must be writable',
    )
