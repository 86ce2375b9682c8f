"""What launchers and workers say to each other over a SOCK_SEQPACKET connection, and workers to the parent.

The worker says `R` when it is ready to receive a call: what the launcher gives away before would stay open,
and keep its caller waiting, should nobody receive it.

The launcher sends one message: a head, and NUL-terminated strings: the program's name, the path that it was
called by, its arguments, its environment. With it come descriptors (SCM_RIGHTS): 0, 1, 2, the current
directory, the root directory, the network namespace, the mount namespace. Where the head says that the call
goes cold, nothing else is there; it is sent so that the engine can count it.

The worker answers `A` and its number when it has accepted the call, which is then never done by anybody else,
`P` before it prints anything, and `S` and a byte, the exit status, when it is done, or `I` when it was
interrupted; then it shuts the connection down, for which alone the launcher wakes up. A worker that closes
the connection before `A` refuses the call, which then goes cold; if one is gone without `S` or `I`, the
launcher prints an error, unless something was printed.

A launcher that is interrupted (SIGINT) passes that on to the worker that has accepted its call.
"""

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"shibafu1"
RLIM_NLIMITS = 16  # include/uapi/asm-generic/resource.h
# Magic and version, build id, reason to go cold, umask, number of arguments, size of the environment, limits.
HEAD = Struct(f"=8s16sIIII{16 * RLIM_NLIMITS}s")
# The limits: soft and hard one of each, -1 for none; see getrlimit(2).
LIMITS = Struct(f"={2 * RLIM_NLIMITS}q")
MAX_MESSAGE = 200_000
DESCRIPTORS = 7
READY = b"R"
ACCEPTED = b"A"
PRINTING = b"P"
DONE = b"S"
INTERRUPTED = b"I"

# Reasons of the launcher, by number; see launcher.c.
COLD = {1: "the call is too large", 2: "no /proc", 3: "the caller has no descriptor left"}


class RefusedError(Exception):
    """The call is not the engine's to do. The text says why, and is what refusals are counted by."""


class Call:
    """A call as the launcher hands it over.

    Args:
        program: the executable's name.
        argv: the path that it was called by, and its arguments.
        env: its environment, `NAME=value`.
        umask: its file mode creation mask.
        limits: its resource limits, packed as `LIMITS`.
        descriptors: the descriptors that came with it, in the protocol's order.
    """

    __slots__ = ("argv", "descriptors", "env", "limits", "program", "umask")

    def __init__(
        self,
        program: bytes,
        argv: list[bytes],
        env: list[bytes],
        umask: int,
        limits: bytes,
        descriptors: "Sequence[int]",
    ) -> None:
        self.program = program.decode("utf-8", "replace")
        self.argv = argv
        self.env = env
        self.umask = umask
        self.limits = limits
        self.descriptors = descriptors

    @property
    def verb(self) -> str:
        """CNI_COMMAND, as far as it is one that the specification has; empty for other programs."""
        stated = next((line[12:] for line in self.env if line.startswith(b"CNI_COMMAND=")), b"")
        verb = stated.decode("utf-8", "replace")
        return verb if verb in ("ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION") else ""


def parse_call(message: bytes, descriptors: "Sequence[int]", build: bytes) -> Call:
    """Take a launcher's message apart.

    Args:
        message: the message.
        descriptors: what came with it.
        build: the id of this build.

    Raises:
        RefusedError: it is not a message of this version, comes from another build's launcher, or goes cold
            anyway.
    """
    if len(message) < HEAD.size:
        raise RefusedError("malformed")
    magic, its_build, cold, umask, argc, envc, limits = HEAD.unpack_from(message)
    if magic != MAGIC:
        raise RefusedError("another version of the protocol")
    if its_build.rstrip(b"\0") != build:
        raise RefusedError("another build")
    if cold:
        raise RefusedError(COLD.get(cold, "unknown reason"))
    strings = message[HEAD.size :].split(b"\0")
    # The last string's terminator leaves an empty one behind it.
    if len(strings) != 1 + argc + envc + 1 or argc < 1 or strings.pop() or len(descriptors) != DESCRIPTORS:
        raise RefusedError("malformed")
    return Call(strings[0], strings[1 : 1 + argc], strings[1 + argc :], umask, limits, descriptors)


# What workers tell the parent: the event, their number, and more, separated by NUL.
EVENT_ACCEPTED, EVENT_DONE, EVENT_REFUSED = "accepted", "done", "refused"


def render_event(event: str, pid: int, *words: object) -> bytes:
    """Return what a worker reports to the parent."""
    return "\0".join([event, str(pid), *map(str, words)]).encode("utf-8", "replace")


def parse_event(datagram: bytes) -> tuple[str, int, list[str]]:
    """Return the event, the worker's number, and what else it says."""
    event, pid, *words = datagram.decode().split("\0")
    return event, int(pid), words
