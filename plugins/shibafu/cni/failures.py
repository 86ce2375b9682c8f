"""Handling of rare failures, kept out of the hot path."""

import os
import sys
from errno import EACCES, ENOSPC, EPERM, EROFS

from shibafu.cni.errors import INTERNAL, IO_FAILURE, TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.request import Request
    from shibafu.cni.skel import Plugin, Run

_REMEDIES = {
    ENOSPC: "free space or inodes on the file system of the file",
    EROFS: "the file system of the file is read-only; make it writable",
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


def describe_held_lock(descriptor: int, what: str, patience: float) -> CniError:
    """Return the error object for a lock that others have held for too long.

    Args:
        descriptor: the file of the lock.
        what: what is locked.
        patience: how many seconds it was waited for.
    """
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    holders = _find_holders(os.fstat(descriptor))
    by = f" by {' and '.join(holders)}" if holders else ""
    return CniError(
        TRY_AGAIN_LATER,
        f"{what} has been locked for {patience:g} seconds{by}",
        f"try again when the lock is released; it is {path}",
    )


def _find_holders(file: os.stat_result) -> list[str]:
    """Return the processes that have locked a file, by number and name, as far as they can be seen."""
    # As in proc_locks(5): device and inode, and no arrow, which is for those that wait.
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    holders = []
    try:
        for line in _read("/proc/locks").splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place:
                # The one that locked it may have ended, and have left the lock to what it had started.
                name = _read(f"/proc/{fields[4]}/comm").strip() if os.path.isdir(f"/proc/{fields[4]}") else ""
                holders.append(f"process {fields[4]} ({name or 'which has ended'})")
    except OSError:
        pass  # it is a help for people, and not needed
    return holders


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def describe_defect(plugin: "Plugin", error: Exception) -> CniError:
    """Return the error object for an unexpected exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
    return CniError(
        INTERNAL,
        f"internal error in shibafu-{plugin.name}, please report it: {type(error).__name__}: {error}",
        where,
    )


def print_about(plugin: "Plugin") -> None:
    """Print what a plugin is, for a person who runs it by hand."""
    from shibafu import __version__

    _tell(
        f"CNI {plugin.name} plugin version {__version__} (shibafu)\n"
        f"CNI protocol versions supported: {', '.join(plugin.supported)}\n"
    )


def take_back(plugin: "Plugin", request: "Request") -> None:
    """Undo an ADD whose result could not be printed."""
    env = dict(request.env) | {"CNI_COMMAND": "DEL"}
    try:
        plugin.verbs["DEL"](request.of("DEL", env))
    except (CniError, OSError, KeyError):
        pass  # DEL comes from the runtime, too, and its answer is heard


def report_unprinted(error: OSError, env: "Mapping[str, str]") -> int:
    """Say that an answer could not be printed, and return the exit status."""
    # What is left in its buffer would fail once more when the interpreter ends.
    sys.stdout = None
    reason = (error.strerror or "standard output is closed").lower()
    _tell(f"cannot print the answer to {env.get('CNI_COMMAND')}: {reason}\n")
    return 1


def run_without_files(run: "Run", env: "Mapping[str, str]") -> int:
    """Do what `skel.run_process` does where the caller has closed some of the process's files."""
    # What is opened from now on must not get their numbers, which child processes inherit.
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # It reads as empty, and refuses to be written to.
    with open("/dev/null", "rb") as nothing:
        stdin = sys.stdin.buffer if sys.stdin is not None else nothing
        stdout = sys.stdout.buffer if sys.stdout is not None else nothing
        try:
            return run(env, stdin, stdout)
        except OSError as error:
            return report_unprinted(error, env)


def warn(text: str) -> None:
    """Write a line to stderr, which runtimes log, about what does not keep the call from its work."""
    _tell(f"shibafu: {text}\n")


def remove_tree(path: str) -> None:
    """Remove what is at a path, including a directory's contents; symbolic links are not followed."""
    try:
        os.unlink(path)
    except IsADirectoryError:
        for name in os.listdir(path):
            remove_tree(f"{path}/{name}")
        os.rmdir(path)
    except FileNotFoundError:
        pass


def _tell(text: str) -> None:
    """Write to stderr, if that is possible."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
    except OSError:
        sys.stderr = None
