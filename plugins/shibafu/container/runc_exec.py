"""`runc exec` under this process, which ends it when the program does not begin.

runc reads files of the container before it begins a program, and what a container has put there can keep it
waiting for ever; meanwhile it passes no signal on.
"""

import os
import signal
import time
from pathlib import Path

from shibafu.container.errors import ContainerError
from shibafu.lean.files import remove_file

# How long a program may take to begin, in seconds.
PATIENCE = 10.0
_PAUSE = 0.02
# What runc passes on to the program. Of SIGWINCH, SIGTSTP and the like, a terminal tells runc itself.
_PASSED_ON = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
)
_FROM_THE_KERNEL = 0x80  # SI_KERNEL, include/uapi/asm-generic/siginfo.h


def run_exec(runc: list[str], options: list[str], directory: Path, words: list[str]) -> int:
    """Run a program in a container and return its exit status, 128 + N for signal N.

    Args:
        runc: how runc is called: its path and its flags.
        options: those of `runc exec`.
        directory: the container's, called by its name.
        words: the program and its arguments.

    Raises:
        ContainerError: it does not begin, or a signal came before it did.
    """
    pid_file = f"{directory}/exec-{os.getpid()}.pid"
    argv = [*runc, "exec", "--pid-file", pid_file, *options, directory.name, *words]
    signals = {signal.SIGCHLD, *_PASSED_ON}
    # A caller may have it ignored, and then the kernel would keep no exit status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        pid = os.posix_spawn(argv[0], argv, os.environ, setsigmask=former)
        status = _wait(pid, pid_file, signals, directory.name)
    finally:
        remove_file(pid_file)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _wait(pid: int, pid_file: str, signals: set[signal.Signals], name: str) -> int:
    """Wait for runc's end and return its wait status."""
    deadline = time.monotonic() + PATIENCE
    has_begun = False
    while True:
        came = signal.sigwaitinfo(signals) if has_begun else signal.sigtimedwait(signals, _PAUSE)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        # runc writes it when the program has begun.
        has_begun = has_begun or os.path.lexists(pid_file)
        number = came.si_signo if came is not None else signal.SIGCHLD
        if has_begun:
            # Ctrl-C at the terminal is runc's, too.
            if number != signal.SIGCHLD and came is not None and came.si_code != _FROM_THE_KERNEL:
                os.kill(pid, number)
        elif number != signal.SIGCHLD:
            _end(pid)
            raise ContainerError(f"{signal.Signals(number).name} arrived before the program started")
        elif time.monotonic() > deadline:
            _end(pid)
            raise ContainerError(
                f"the program did not start in container {name} within {PATIENCE:.0f} s",
                "check its /etc/passwd and /etc/group",
            )


def _end(pid: int) -> None:
    """End runc and what it has in the container that is not the program yet."""
    children = Path(f"/proc/{pid}/task")
    found = [child for file in children.glob("*/children") for child in file.read_text().split()]
    for number in (pid, *map(int, found)):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has just ended by itself
    os.waitpid(pid, 0)
