"""Knowing when a firewall transaction is in force, without waiting for the program that made it.

A program that removes rules from nf_tables does so within a millisecond, and then cannot close its
netlink socket for 10 to 20 ms, until no processor can hold the rules any more (RCU); meanwhile no other
transaction gets through. The kernel announces each transaction with the number of the process that made
it. So a program that has more input to expect, and hence does not end, is done when that came.

The same wait hits a process that closes a socket to nf_tables. The programs inherit the watching one: closed
here, it is still open there.
"""

import select
import time
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW
from _socket import socket as _socket
from struct import Struct

from shibafu.netlink.codec import parse_attrs, parse_messages
from shibafu.netlink.errors import NetlinkDecodeError

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWGEN = 15
NFTA_GEN_PROC_PID = 2
_NFGENMSG_SIZE = 4
_PID = Struct(">I")
_BUFFER_SIZE = 32768


class GenerationWatch:
    """Announcements of nf_tables transactions in the current network namespace, from now on.

    Raises:
        OSError: the kernel has no nf_tables.
    """

    __slots__ = ("_socket",)

    def __init__(self) -> None:
        self._socket = _socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER)
        self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))

    def wait(self, pid: int, count: int, seconds: float) -> bool:
        """Wait for the transactions of one process.

        Args:
            pid: the process.
            count: how many it is to make.
            seconds: how long to wait at most; iptables-legacy makes none.

        Returns:
            Whether all have come.
        """
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while count > 0:
            rest = deadline - time.monotonic()
            if rest <= 0 or not poll.poll(rest * 1000):
                return False
            try:
                count -= parse_generations(self._socket.recv(_BUFFER_SIZE)).count(pid)
            except OSError:
                return False  # so much is going on that announcements were lost
        return True

    def fileno(self) -> int:
        """Return the descriptor that the watched programs have to inherit."""
        return self._socket.fileno()


def parse_generations(datagram: bytes) -> list[int]:
    """Return the numbers of the processes whose transactions a datagram announces.

    Raises:
        NetlinkDecodeError: it is malformed.
    """
    pids = []
    for kind, _, _, _, payload in parse_messages(datagram):
        if kind != NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
            continue
        value = parse_attrs(payload, _NFGENMSG_SIZE).get(NFTA_GEN_PROC_PID, b"")
        if len(value) != _PID.size:
            raise NetlinkDecodeError("a transaction without its process")
        pids.append(_PID.unpack(value)[0])
    return pids
