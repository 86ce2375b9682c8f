"""Sysctls of a container: below /proc/sys/net a process sees those of the network namespace that it is in."""

import os
from errno import EACCES, EINVAL, ENOENT

from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from shibafu.resource.base import INSIDE, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.view import View

# The longest are lists of ports.
_MAX_SIZE = 1 << 16
_ADVICE = "it was changed in the container; change it back, or attach the container again"


class Sysctls(Resource):
    """Sysctls with stated values.

    They go with the container's namespace; DEL leaves them, as the reference does.

    Args:
        wanted: the values, by the sysctls' files.
    """

    __slots__ = ("_former", "_view", "_wanted")
    medium = INSIDE
    is_inside = True

    def __init__(self, wanted: dict[str, str]) -> None:
        self._wanted = wanted
        self._former: dict[str, str] = {}
        self._view: View | None = None

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "sysctls of the container"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {
            "sysctl": [f"{path.removeprefix('/proc/sys/')}={value}" for path, value in self._wanted.items()]
        }

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        if not self._wanted:
            return []
        found = []
        with view.entered():
            for path, value in self._wanted.items():
                try:
                    current = _read(path)
                except CniError as error:
                    found.append(Fault(error.msg, error.details, is_mendable=False))
                    continue
                if current is not None and not _is_same(current, value):
                    what = f"configured value of {path} is {value}, current value is {current}"
                    found.append(Fault(f"Error: Tuning {what}", _ADVICE))
        return found

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: the kernel has no such sysctl, or not such a value.
        """
        if not self._wanted:
            return False
        self._view = view
        with view.entered():
            for path, value in self._wanted.items():
                former = _read(path)
                if former is None or not _is_same(former, value):
                    if former is not None:
                        self._former[path] = former
                    _write(path, value)
        return True

    def remove(self) -> None:
        """Give those back their former values that this call has changed; others stay as they are."""
        if self._view is None:
            return
        with self._view.entered():
            while self._former:
                _write(*self._former.popitem())


def _is_same(current: str, wanted: str) -> bool:
    """Return whether two values are the same; several numbers the kernel separates by tabs."""
    return current.split() == wanted.split()


def _read(path: str) -> str | None:
    """Return a sysctl's value; None for one that can only be written.

    Raises:
        CniError: there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == EACCES:
            return None
        raise _refuse("open", path, error) from None
    try:
        return os.read(descriptor, _MAX_SIZE).decode("utf-8", "replace").removesuffix("\n")
    except OSError as error:
        raise _refuse("read", path, error) from None
    finally:
        os.close(descriptor)


def _write(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _refuse("open", path, error) from None
    try:
        # The end of the line makes something of nothing: an empty list of ports, for example.
        os.write(descriptor, f"{value}\n".encode())
    except OSError as error:
        raise _refuse("write", path, error) from None
    finally:
        os.close(descriptor)


def _refuse(doing: str, path: str, error: OSError) -> CniError:
    reason = error.strerror or str(error)
    code = INVALID_CONFIG if error.errno in (ENOENT, EINVAL) else IO_FAILURE
    advice = {
        ENOENT: 'correct the name in "sysctl"; some exist only on the host, or only with a kernel module',
        EINVAL: 'the kernel refuses this value; correct it in "sysctl"',
    }
    return CniError(
        code, f"{doing} {path}: {reason[:1].lower()}{reason[1:]}", advice.get(error.errno or 0, "")
    )
