"""Rules as nf_tables has them, to be compared with what they were: no program is started to read them.

A rule's counters of packets are left out. Other expressions that change with packets, such as limits, make a
chain look like another one, which costs a look at its rules.
"""

from shibafu.cni.names import calc_digest
from shibafu.netfilter.generation import NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES
from shibafu.netlink.codec import attr_string
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# include/uapi/linux/netfilter.h, netfilter/nf_tables.h
_FAMILIES = {4: 2, 6: 10}
_GETRULE = NFNL_SUBSYS_NFTABLES << 8 | 7
_NFTA_RULE_TABLE, _NFTA_RULE_CHAIN = 1, 2
# The name of an expression (NFTA_EXPR_NAME), and how long the attribute after it is, with both counters.
_COUNTER, _COUNTERS_SIZE = b"counter\0", 28
_NFGENMSG_SIZE = 4


def read_state(chains: "Iterable[tuple[int, str, str]]") -> str:
    """Return a digest of the rules of some chains; empty where they cannot be read.

    Args:
        chains: version of IP, table and name of each.
    """
    found = []
    try:
        with NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
            for version, table, chain in dict.fromkeys(chains):
                rules = [_cut_counters(rule).hex() for rule in sock.dump(_ask(version, table, chain))]
                found.append(f"{version} {table} {chain} {' '.join(rules)}")
    except OSError:
        return ""
    return calc_digest(*found, size=32)


def _ask(version: int, table: str, chain: str) -> NetlinkRequest:
    # struct nfgenmsg: family, version, resource
    payload = bytes([_FAMILIES[version], 0, 0, 0])
    payload += attr_string(_NFTA_RULE_TABLE, table) + attr_string(_NFTA_RULE_CHAIN, chain)
    return NetlinkRequest(_GETRULE, 0, payload, "cannot list rules")


def _cut_counters(rule: bytes) -> bytes:
    # In front of the rule's attributes comes the generation.
    head, *tails = rule[_NFGENMSG_SIZE:].split(_COUNTER)
    return b"".join([head, *(tail[_COUNTERS_SIZE:] for tail in tails)])
