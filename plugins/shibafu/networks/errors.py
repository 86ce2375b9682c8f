"""Failures in words, and those that stop only their own part of what was asked for."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb

from shibafu.cni.errors import CniError
from shibafu.container.errors import ContainerError
from shibafu.documents.errors import DocumentError
from shibafu.netlink.errors import NetlinkError
from shibafu.overlay.errors import OverlayError

# Exit codes: 0 for success, these, and 130 after Ctrl-C, as shells have it.
FAILED = 1
USAGE = 2
# Modules that only the command needs, and the packages that have them.
_EXTRA_MODULES = {"etcd3gw": "etcd3gw", "filelock": "filelock", "pyroute2": "pyroute2", "yaml": "pyyaml"}


class CommandError(Exception):
    """A failure in words.

    Args:
        message: one sentence that says what is wrong.
        hint: what to do about it; may be empty.
        status: the exit code, FAILED or USAGE.
    """

    def __init__(self, message: str, hint: str = "", status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class UsageError(CommandError):
    """Arguments that each make sense, but not together."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, USAGE)


def describe_failure(error: Exception) -> CommandError:
    """Return an exception as a failure in words; even a defect of the command ends in no traceback."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ContainerError | OverlayError):
        return CommandError(error.message, error.hint)
    if isinstance(error, DocumentError):
        return CommandError(str(error), error.hint)
    if isinstance(error, CniError):
        return CommandError(error.msg, error.details)
    if isinstance(error, PermissionError):
        return CommandError(_describe(error), "most of what this command does needs root: try it with sudo")
    if isinstance(error, OSError):
        return CommandError(_describe(error))
    if isinstance(error, ModuleNotFoundError):
        return _describe_missing(error)
    return _describe_defect(error)


class Failures:
    """What failed of a subcommand that does the same for many: networks, containers, files.

    Args:
        report: reports each failure as it happens.

    Attributes:
        status: the exit code so far.
    """

    def __init__(self, report: Callable[[CommandError], None]) -> None:
        self._report = report
        self.status = 0

    def add(self, *errors: Exception) -> None:
        """Report failures that have not been reported."""
        for error in errors:
            self._report(describe_failure(error))
            self.status = FAILED

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Run a part whose failure does not stop the others.

        Args:
            what: what the part is about, such as "network blue", for the report.

        Raises:
            BrokenPipeError: nobody reads the output any more.
        """
        try:
            yield
        except BrokenPipeError:
            raise
        except Exception as error:
            failure = describe_failure(error)
            begins_so = failure.message.startswith(f"{what} ")
            message = failure.message if begins_so else f"{what}: {failure.message}"
            self.add(CommandError(message, failure.hint))


def _describe(error: OSError) -> str:
    if isinstance(error, NetlinkError):
        return str(error)  # with what was tried; `strerror` is only what the kernel adds
    where = f"{error.filename}: " if error.filename else ""
    return where + (error.strerror or str(error)).lower() if error.strerror else str(error)


def _describe_missing(error: ModuleNotFoundError) -> CommandError:
    """Return what to install after `pip install` without the extra `command`, see setup.cfg."""
    if error.name not in _EXTRA_MODULES:
        return _describe_defect(error)
    packages = " ".join(_EXTRA_MODULES.values())
    return CommandError(
        f"the command needs the Python package {_EXTRA_MODULES[error.name]}, which is not installed",
        f"install its dependencies: {sys.executable} -m pip install {packages}",
    )


def _describe_defect(error: Exception) -> CommandError:
    *_, (frame, line) = walk_tb(error.__traceback__)
    where = f"{frame.f_code.co_filename}:{line}"
    what = f"internal error in shibafu, please report it: {type(error).__name__}: {error}"
    return CommandError(what, where)
