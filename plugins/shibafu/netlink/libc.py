"""Functions of the C library that Python's own modules lack.

Called by what ctypes is made of: the package around it takes another 3 ms to import.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_USE_ERRNO, CFuncPtr, dlopen, dlsym, get_errno

    class _Function(CFuncPtr):
        # Without a type of the result that is an int, and so is every argument that is one here.
        _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO

    # None is the program itself with its libraries, as for dlopen(3); typeshed knows paths only.
    _LIBRARY = dlopen(None, 0)  # type: ignore[arg-type]
    HAVE_CTYPES_CORE = True
except ImportError:
    HAVE_CTYPES_CORE = False

# What was looked up, which takes longer than most calls of it. Where a function is stays the same as long as
# the process lives, in each namespace that it enters and in what the engine forks.
_known: "dict[str, Callable[..., None]]" = {}


def load_libc_function(name: str) -> "Callable[..., None]":
    """Return a function of the C library that takes numbers and returns 0, or -1 with errno.

    The function that is returned raises OSError for the latter.
    """
    if name not in _known:
        _known[name] = _load_by_core(name) if HAVE_CTYPES_CORE else _load_by_ctypes(name)
    return _known[name]


def _load_by_core(name: str) -> "Callable[..., None]":
    return _calling(_Function(dlsym(_LIBRARY, name)), get_errno)


def _load_by_ctypes(name: str) -> "Callable[..., None]":
    import ctypes

    return _calling(ctypes.CDLL(None, use_errno=True)[name], ctypes.get_errno)


def _calling(function: "Callable[..., int]", read_errno: "Callable[[], int]") -> "Callable[..., None]":
    def call(*arguments: int) -> None:
        if function(*arguments) != 0:
            errno = read_errno()
            raise OSError(errno, os.strerror(errno))

    return call
