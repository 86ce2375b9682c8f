"""What nfnetlink announces: what was taken out of nf_tables, and by whom.

A transaction's changes come first, then its end, which names the process (nf_tables_commit in
net/netfilter/nf_tables_api.c). What iptables' legacy variant changes is announced by nobody.
"""

from shibafu.netfilter.generation import (
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NFNLGRP_NFTABLES,
    NFT_MSG_NEWGEN,
    NFTA_GEN_PROC_PID,
)
from shibafu.netlink.codec import parse_attrs, parse_string
from shibafu.netlink.socket import NetlinkSocket
from shibafu.watch.culprit import describe_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shibafu.watch.interests import Interests

# linux/netfilter/nf_tables.h: what ends with rules being away, or before ours.
_DELTABLE, _DELCHAIN, _NEWRULE, _DELRULE, _DELSET, _DELSETELEM = 2, 5, 6, 8, 11, 14
_RULES = (_NEWRULE, _DELRULE)
_REMOVALS = (_DELTABLE, _DELCHAIN, *_RULES, _DELSET, _DELSETELEM)
_HEADER = 4  # struct nfgenmsg
_NAME = 1  # NFTA_TABLE_NAME, and NFTA_*_TABLE of all else
_RULE_CHAIN = 2
_CHAIN_NAME = 3
_PROC_NAME = 3  # NFTA_GEN_PROC_NAME
# Tables that rules of ours are in beside those of others, and the chains there that lead to them.
_SHARED_TABLES = frozenset(["filter", "nat", "mangle", "raw"])
_HOOKS = frozenset(["FORWARD", "PREROUTING", "POSTROUTING", "INPUT", "OUTPUT"])
_OWN = ("shibafu", "SHIBAFU", "CNI-", "cni")
_FIREWALLD = "firewalld"


class RuleEvents:
    """The announcements of the namespace that the process is in.

    Raises:
        OSError: the kernel has no nf_tables.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket(1 << (NFNLGRP_NFTABLES - 1), protocol=NETLINK_NETFILTER)
        self._touched: set[str] = set()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self, interests: "Interests", mark: "Callable[[str, str], None]") -> None:
        """Read what has come.

        Args:
            interests: what is not thrown away.
            mark: takes a network, and who has changed its rules.

        Raises:
            OSError: ENOBUFS: some announcements were lost.
            NetlinkDecodeError: one is malformed.
        """
        for kind, _, _, _, payload in self._receive():
            message = kind & 0xFF
            if kind >> 8 != NFNL_SUBSYS_NFTABLES:
                continue
            if message in _REMOVALS:
                self._touched.update(_find_touched(message, payload, interests))
            elif message == NFT_MSG_NEWGEN and self._touched:
                attrs = parse_attrs(payload, _HEADER)
                pid = int.from_bytes(attrs.get(NFTA_GEN_PROC_PID, b""), "big")
                culprit = describe_named(parse_string(attrs.get(_PROC_NAME, b"")), pid)
                for network in self._touched:
                    mark(network, culprit)
                self._touched.clear()

    def _receive(self) -> "Iterator[tuple[int, int, int, int, bytes]]":
        while messages := self._socket.receive_announced():
            yield from messages


def _find_touched(message: int, payload: bytes, interests: "Interests") -> list[str]:
    """Return the networks whose rules a change may concern."""
    attrs = parse_attrs(payload, _HEADER)
    table = parse_string(attrs.get(_NAME, b""))
    if table == _FIREWALLD:
        return interests.find_owners("")
    if table.startswith(_OWN):
        return interests.find_owners(table)
    if table not in _SHARED_TABLES:
        return []
    if message == _DELTABLE:
        return interests.find_owners("")
    chain = parse_string(attrs.get(_CHAIN_NAME if message == _DELCHAIN else _RULE_CHAIN, b""))
    is_ours = chain in _HOOKS or chain.startswith(_OWN)
    return interests.find_owners(chain) if is_ours else []
