"""Whether nf_tables has a table or a chain: one question to the kernel, and no program to start."""

from shibafu.netfilter.generation import NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES
from shibafu.netlink.codec import attr_string, parse_attrs, parse_string
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# include/uapi/linux/netfilter.h, netfilter/nf_tables.h
_FAMILIES = {"inet": 1, "ip": 2, "ip6": 10}
_GETTABLE, _GETCHAIN = NFNL_SUBSYS_NFTABLES << 8 | 1, NFNL_SUBSYS_NFTABLES << 8 | 4
_NFTA_TABLE_NAME = 1
_NFTA_CHAIN_TABLE, _NFTA_CHAIN_NAME = 1, 3
_NFGENMSG_SIZE = 4


class Presence:
    """What nf_tables has in the network namespace that this process is in; nothing without nf_tables."""

    __slots__ = ("_sock",)

    def __init__(self) -> None:
        try:
            self._sock: NetlinkSocket | None = NetlinkSocket(protocol=NETLINK_NETFILTER)
        except OSError:
            self._sock = None

    def __enter__(self) -> "Presence":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sock is not None:
            self._sock.close()

    def has_table(self, table: str) -> bool:
        """Return whether there is a table, which is named by its family and its name."""
        family, _, name = table.partition(" ")
        return self._has(_GETTABLE, family, attr_string(_NFTA_TABLE_NAME, name))

    def has_chain(self, table: str, chain: str) -> bool:
        """Return whether a table has a chain."""
        family, _, name = table.partition(" ")
        names = attr_string(_NFTA_CHAIN_TABLE, name) + attr_string(_NFTA_CHAIN_NAME, chain)
        return self._has(_GETCHAIN, family, names)

    def list_chains(self) -> list[str]:
        """Return the names of all chains, of whatever family and table."""
        if self._sock is None:
            return []
        request = NetlinkRequest(_GETCHAIN, 0, bytes(_NFGENMSG_SIZE), "cannot list chains")
        try:
            entries = self._sock.dump(request)
        except NetlinkError:
            return []  # there is no nf_tables
        return [parse_string(parse_attrs(entry, _NFGENMSG_SIZE)[_NFTA_CHAIN_NAME]) for entry in entries]

    def _has(self, kind: int, family: str, names: bytes) -> bool:
        if self._sock is None:
            return False
        # struct nfgenmsg: family, version, resource
        payload = bytes([_FAMILIES[family], 0, 0, 0]) + names
        try:
            self._sock.get(NetlinkRequest(kind, 0, payload, "cannot look for rules"))
        except NetlinkError:
            return False  # it is not there, or there is no nf_tables
        return True
