"""Processes of iptables-restore(8), in which rules are compared, changed and listed."""

import os

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Seconds to wait for the legacy variant's lock.
_LOCK_WAIT = "30"
# Seconds until a transaction that will be announced certainly is: a busy machine takes its time.
PATIENCE = 0.1
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


def is_announced(program: str) -> bool:
    """Return whether the kernel announces transactions of a program, by a number that is known here."""
    try:
        is_initial = os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PROCESSES
    except OSError:
        return False
    # The name of the file that links lead to tells the variant of iptables.
    return is_initial and "nft" in os.path.basename(os.path.realpath(program))


def decode(printed: bytes) -> str:
    """Return what a program has printed; others' comments may be no UTF-8."""
    return printed.decode("utf-8", "surrogateescape")
