"""What the kernel refuses of files, in sentences; imported when something has failed."""

from errno import EACCES, ENOSPC, EPERM, EROFS

from shibafu.cni.errors import IO_FAILURE, CniError

_REMEDIES = {
    ENOSPC: "free space, or inodes, on the file system that the file is on",
    EROFS: "the file system that the file is on is read-only; make it writable",
    EACCES: "the plugin must run as root",
    EPERM: "the plugin must run as root",
}


def describe_os_error(doing: str, error: OSError, details: str = "") -> CniError:
    """Return the error object for a file that cannot be read or written.

    Args:
        doing: what was to be done, such as `reserve an address`.
        error: what the kernel answered.
        details: what to do; without it what is done about full and unwritable file systems.
    """
    where = f"{error.filename}: " if error.filename else ""
    reason = (error.strerror or str(error)).lower()
    if not details and error.errno in _REMEDIES:
        details = _REMEDIES[error.errno]
    return CniError(IO_FAILURE, f"cannot {doing}: {where}{reason}", details)
