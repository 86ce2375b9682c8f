"""Programs by which the kernel leaves out packets that a socket is not to see (linux/filter.h)."""

import socket
from array import array
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Of struct sock_filter: load from the packet, compare, and end with what is left of it.
LOAD_BYTE, LOAD_HALF, LOAD_WORD, IF_EQUAL, GIVE = 0x30, 0x28, 0x20, 0x15, 0x06
# SKF_NET_OFF: added to an offset that counts from the header of IP.
FROM_IP = 0xFFF00000
# How many packets to read before something else is looked at: a container that may send any frame can forge
# answers faster than they are read.
ANSWERS_AT_ONCE = 128
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h

# A code, how many instructions to skip if a comparison holds and if not, and an operand.
Instruction = tuple[int, int, int, int]


def attach_filter(sock: socket.socket, wanted: "Sequence[tuple[int, int, int]]") -> None:
    """Let only packets through that have certain values.

    Args:
        sock: the socket.
        wanted: how to load each value, from which offset, and what it has to be.
    """
    program: list[Instruction] = []
    for number, (load, offset, value) in enumerate(wanted):
        # What differs goes to the last instruction.
        program += [(load, 0, 0, offset), (IF_EQUAL, 0, 2 * (len(wanted) - number) - 1, value)]
    program += [(GIVE, 0, 0, 0xFFFF), (GIVE, 0, 0, 0)]
    code = array("B", b"".join(pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pack("HP", len(program), code.buffer_info()[0]))
