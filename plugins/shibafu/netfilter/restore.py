"""Processes of iptables-restore(8), in which rules are compared, changed and listed."""

import os
import sys
import time
from _thread import start_new_thread

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Seconds to wait for the legacy variant's lock.
_LOCK_WAIT = "30"
# Seconds until a transaction that will be announced certainly is: a busy machine takes its time.
PATIENCE = 0.1
# Seconds after which no processor can hold rules any more that were removed: the kernel takes 10 to 20 ms.
_REST = 0.05
# The process namespace by which the kernel numbers the processes that it announces (linux/proc_ns.h).
_INITIAL_PROCESSES = 0xEFFFFFFC


def spawn_restore(
    program: str, env: "Mapping[str, str]", text: str | None, inherit: tuple[int, ...] = ()
) -> Child:
    """Start iptables-restore, which changes what its input says and leaves the rest.

    Args:
        program: its path.
        env: its environment.
        text: its input; None when that is to be fed.
        inherit: descriptors that it has as well.

    Raises:
        CniError: it cannot be executed.
    """
    argv = [program, "--noflush", "--wait", _LOCK_WAIT]
    try:
        stdin = text.encode("utf-8", "surrogateescape") if text is not None else None
        return Child(program, argv, env, stdin, keep_stderr=True, inherit=inherit)
    except OSError as error:
        raise CniError(FIREWALL, f"cannot execute {program}: {error.strerror}") from None


def start_each(versions: "Iterable[int]", start: "Callable[[int], Child]") -> dict[int, Child]:
    """Start a program for each family; if one cannot be executed, none is left that waits to be fed.

    It would hold the locks that it has been handed down.

    Args:
        versions: the families.
        start: starts the program of one.

    Raises:
        CniError: a program cannot be executed.
    """
    children: dict[int, Child] = {}
    try:
        for version in versions:
            children[version] = start(version)
    except BaseException:
        # Whatever it is: nobody else knows of them.
        for child in children.values():
            child.withdraw()
        raise
    return children


def is_announced(program: str) -> bool:
    """Return whether the kernel announces transactions of a program, by a number that is known here."""
    try:
        is_initial = os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PROCESSES
    except OSError:
        return False
    # The name of the file that links lead to tells the variant of iptables.
    return is_initial and "nft" in os.path.basename(os.path.realpath(program))


def finish_announced(children: "Iterable[Child]") -> None:
    """Let programs end whose transactions have been announced.

    One that has removed rules, and closes its socket before no processor can hold these any more, holds the
    lock of nf_tables until then. Deleting a link takes that lock, as shibafu-bridge's DEL does, which comes
    next. In the engine, which stays, programs end when there is nothing more to wait for.
    """
    held = list(children)
    if held and getattr(sys, "shibafu_resident", False):
        try:
            start_new_thread(_finish_rested, (held,))
            return
        except RuntimeError:
            pass  # there can be no more threads
    _finish(held)


def _finish_rested(children: "list[Child]") -> None:
    time.sleep(_REST)
    _finish(children)


def _finish(children: "list[Child]") -> None:
    for child in children:
        child.finish_input()
        child.leave()


def decode(printed: bytes) -> str:
    """Return what a program has printed; others' comments may be no UTF-8."""
    return printed.decode("utf-8", "surrogateescape")
