"""What the kernel reports about transactions in nf_tables: how many there were, and which process made each.

Its generation is a number that every transaction increments, by any process: where it is the same, so are the
rules. (It begins again when the module is unloaded, for which all rules have to go.) iptables' legacy variant
keeps its rules elsewhere, and has no such number.

The kernel announces each transaction with the number of the process that made it. A program that removes
rules does so within a millisecond, and then cannot close its netlink socket for 10 to 20 ms, until no
processor can hold the rules any more (RCU); meanwhile no other transaction gets through. So a program that
has more input to expect, and hence does not end, is done when that came.

The same wait hits a process that closes a socket to nf_tables. The programs inherit the watching one: closed
here, it is still open there.
"""

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW
from _socket import socket as _socket
from struct import Struct

from shibafu.netlink.codec import pack_message, parse_attrs, parse_messages
from shibafu.netlink.constants import NLM_F_REQUEST
from shibafu.netlink.errors import NetlinkDecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWGEN = 15
NFT_MSG_GETGEN = 16
NFTA_GEN_ID = 1
NFTA_GEN_PROC_PID = 2
_NFGENMSG_SIZE = 4
_NUMBER = Struct(">I")
_BUFFER_SIZE = 32768
# The tables of the legacy variant that are in use in this namespace.
_LEGACY_TABLES = {4: "/proc/self/net/ip_tables_names", 6: "/proc/self/net/ip6_tables_names"}


class Announcement:
    """What the kernel announces of one transaction.

    Args:
        generation: what the generation was raised to.
        pid: the process that made it, as the initial process namespace numbers it.
        port: the netlink port by which it was made. The answer to a question looks the same, with the port
            of the process that asked.
    """

    __slots__ = ("generation", "pid", "port")

    def __init__(self, generation: int, pid: int, port: int) -> None:
        self.generation = generation
        self.pid = pid
        self.port = port


class GenerationWatch:
    """The transactions in nf_tables of the current network namespace, from now on.

    Raises:
        OSError: the kernel has no nf_tables.
    """

    __slots__ = ("_generation", "_socket")

    def __init__(self) -> None:
        # What it was when it was last asked for.
        self._generation = 0
        self._socket = _socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER)
        self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))

    def wait(self, pid: int, count: int, seconds: float, complaints: int) -> bool:
        """Wait for the transactions of one process.

        Args:
            pid: the process.
            count: how many it is to make.
            seconds: how long to wait at most; iptables-legacy makes none.
            complaints: the descriptor at which its stderr is read: there, or with its end, no more come.

        Returns:
            Whether all have come.
        """
        # Not at the top: calls that remove nothing do without.
        import select
        import time

        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(complaints, select.POLLIN)
        while count > 0:
            rest = deadline - time.monotonic()
            ready = [descriptor for descriptor, _ in poll.poll(rest * 1000)] if rest > 0 else []
            if self._socket.fileno() not in ready:
                return False
            try:
                count -= len([one for one in self._receive() if one.pid == pid])
            except OSError:
                return False  # so much is going on that announcements were lost
        return True

    def ask(self) -> int:
        """Return the generation that is in force; 0 if it cannot be told."""
        return self._ask()[1]

    def ask_again(self, own: "Container[int]") -> int:
        """Return the generation if no other process has made a transaction since it was last asked for.

        Args:
            own: the processes whose transactions do not count.

        Returns:
            The generation; 0 if somebody else has, or it cannot be told.
        """
        last = self._generation
        announced, generation = self._ask()
        is_own = all(one.pid in own for one in announced)
        # One that is in force may not have been announced yet.
        is_last = generation == (announced[-1].generation if announced else last)
        return generation if is_own and is_last else 0

    def _ask(self) -> tuple[list[Announcement], int]:
        """Return what was announced since the last question, and the generation that is in force."""
        announced: list[Announcement] = []
        kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN
        try:
            port: int = self._socket.getsockname()[0]
            self._socket.sendto(pack_message(kind, NLM_F_REQUEST, 0, bytes(_NFGENMSG_SIZE)), (0, 0))
            # The kernel has answered by now, unless it refused.
            while not announced or announced[-1].port != port:
                announced += self._receive()
        except (OSError, NetlinkDecodeError):
            # What is read from now on may be the answer to an earlier question.
            self.close()
            self._generation = 0
            return [], 0
        self._generation = announced.pop().generation
        return announced, self._generation

    def fileno(self) -> int:
        """Return the descriptor that the watched programs have to inherit."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def _receive(self) -> list[Announcement]:
        """Return the transactions that the next datagram announces.

        Raises:
            OSError: there is none, or some were lost.
            NetlinkDecodeError: it is malformed.
        """
        return parse_transactions(self._socket.recv(_BUFFER_SIZE))


def parse_transactions(datagram: bytes) -> list[Announcement]:
    """Return the transactions that a datagram announces.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    transactions = []
    for kind, _, _, port, payload in parse_messages(datagram):
        if kind != NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
            continue
        attrs = parse_attrs(payload, _NFGENMSG_SIZE)
        values = [attrs.get(number, b"") for number in (NFTA_GEN_ID, NFTA_GEN_PROC_PID)]
        if any(len(value) != _NUMBER.size for value in values):
            raise NetlinkDecodeError("a transaction without its number or its process")
        generation, pid = (_NUMBER.unpack(value)[0] for value in values)
        transactions.append(Announcement(generation, pid, port))
    return transactions


def list_legacy_tables(version: int) -> list[bytes]:
    """Return the tables of iptables' legacy variant that are in use in this namespace, of one family.

    Raises:
        OSError: it cannot be told.
    """
    try:
        descriptor = os.open(_LEGACY_TABLES[version], os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []  # its module is not loaded
    try:
        return os.read(descriptor, 4096).split()
    finally:
        os.close(descriptor)


def open_watch() -> GenerationWatch | None:
    """Return a `GenerationWatch`; None where the kernel has no nf_tables."""
    try:
        return GenerationWatch()
    except OSError:
        return None
