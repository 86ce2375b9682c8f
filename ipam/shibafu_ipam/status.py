"""STATUS: would ADD get an address now? Nothing is changed, and nothing is made that is not there."""

import os
from errno import EACCES, EISDIR, ENOTDIR, EOPNOTSUPP

from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.cni.request import Request
from shibafu_ipam.allocator import choose_address
from shibafu_ipam.config import IpamConfig
from shibafu_ipam.index import Index
from shibafu_ipam.liveness import is_abandoned
from shibafu_ipam.ranges import RangeSet
from shibafu_ipam.rebuild import Survey
from shibafu_ipam.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu_ipam.allocator import FindFree


def status(request: Request) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason, or what is wrong with the configuration.
    """
    config = IpamConfig(request)
    with Store(config.data_dir, request.network) as store:
        try:
            _check_writable(store.directory)
            _check_writable(store.index_directory)
            if not os.path.isdir(store.directory):
                return
            store.lock_for_reading()
            exhausted = _find_exhausted(store, config.range_sets)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CniError(
                NOT_AVAILABLE,
                f"cannot use dataDir: {error.filename or store.directory}: {reason}",
                'the leases are kept in "dataDir" of the "ipam" section, which must be writable',
            ) from None
    if exhausted is not None:
        raise CniError(
            NOT_AVAILABLE,
            f"no IP addresses available in range set: {exhausted}",
            "every address is taken by a container; make the range larger, or wait until one ends",
        )


def _check_writable(directory: str) -> None:
    """Make sure that files can be made in a directory, or that the directory can be made.

    A file without a name is made there, and written to, which leaves nothing behind, be it that this is
    killed, and does not show in the directory's time. On a file system without such files, whether it is
    full is not known.
    """
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise NotADirectoryError(ENOTDIR, "not a directory", directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, "not writable", directory)
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (EOPNOTSUPP, EISDIR):
            return
        raise
    try:
        os.write(descriptor, b"1")
    except OSError as error:
        error.filename = directory
        raise
    finally:
        os.close(descriptor)


def _find_exhausted(store: Store, range_sets: list[RangeSet]) -> RangeSet | None:
    with Index(store) as index:
        try:
            if index.is_valid() and _first_exhausted(range_sets, index.pages.find_free) is None:
                return None
        except OSError:
            pass  # the index is a hint, and ADD rebuilds it
        # As ADD does before it fails: leases whose namespace has vanished are as good as free.
        pages = Survey(index, lambda _, record: not is_abandoned(record)).calc_pages()
        return _first_exhausted(range_sets, pages.find_free)


def _first_exhausted(range_sets: list[RangeSet], find_free: "FindFree") -> RangeSet | None:
    for range_set in range_sets:
        if choose_address(range_set, None, find_free) is None:
            return range_set
    return None
