"""Chains of others that drop what a network's containers send or get, whatever our own rules accept.

A packet passes only if no base chain of the hook drops it. One dump of the kernel's tells, well below a
millisecond, whether any could; only then are the rules read.
"""

import os

from shibafu.cni.names import IPTABLES, calc_chain, is_strict_chain
from shibafu.lean.ip import Cidr
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.generation import list_legacy_tables
from shibafu.netlink.codec import attr, parse_attrs, parse_string
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.trace import Drop

# include/uapi/linux/netfilter.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_NFT_MSG_GETCHAIN = 10 << 8 | 4
_NFTA_CHAIN_TABLE, _NFTA_CHAIN_NAME, _NFTA_CHAIN_HOOK = 1, 3, 4
_NFTA_CHAIN_POLICY, _NFTA_CHAIN_USE, _NFTA_HOOK_HOOKNUM = 5, 6, 1
_NF_INET_FORWARD = (2).to_bytes(4, "big")
# Every relevant chain contains one of these: the hook, or the end of a name made by `calc_strict_chain` and
# the NUL that the kernel appends. Other chains may contain them by chance.
_IN_FORWARD, _IN_STRICT = attr(_NFTA_HOOK_HOOKNUM, _NF_INET_FORWARD), b"-S\0"
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_NFGENMSG_SIZE = 4
# MAXSYMLINKS in the kernel's include/linux/namei.h
_MAX_LINKS = 40
_OWN_TABLES = calc_chain("").partition("-")[0].lower() + "-"


class BaseChain:
    """A chain of nftables that all forwarded packets pass.

    Args:
        family: ip, ip6 or inet.
        table: its table.
        name: its name.
        policy: accept or drop.
    """

    __slots__ = ("family", "name", "policy", "table")

    def __init__(self, family: str, table: str, name: str, policy: str) -> None:
        self.family = family
        self.table = table
        self.name = name
        self.policy = policy

    @property
    def is_iptables(self) -> bool:
        """Whether it is FORWARD of iptables' variant nft."""
        return self.family != "inet" and (self.table, self.name) == ("filter", "FORWARD")

    def sees(self, version: int) -> bool:
        """Return whether packets of one family pass it."""
        return self.family in ("inet", {4: "ip", 6: "ip6"}[version])


def find_drop(
    bridge: str,
    subnets: list[Cidr],
    is_masqueraded: bool,
    backend: str,
    env: "Mapping[str, str]",
    is_clear: bool = False,
) -> "Drop | None":
    """Return the first chain that certainly drops a network's packets; None if there is none.

    Certain is what holds whatever conditions are not understood here; and a rule that names the bridge is
    its administrator's wish.

    Args:
        bridge: the link that the containers' packets enter and leave the host by.
        subnets: the containers'.
        is_masqueraded: whether what they send is to be forwarded.
        backend: what the network's own rules are made with.
        env: the environment.
        is_clear: whether `has_foreign_bases` has found none, and nf_tables has not changed since.
    """
    bases = [] if is_clear else _list_foreign_bases(backend, env)
    legacy = [version for version in sorted({s.version for s in subnets}) if _uses_legacy(version)]
    if legacy and backend == IPTABLES and _is_legacy(env):
        legacy = []  # our own rules come first there
    if not bases and not legacy:
        return None
    from shibafu.netfilter.trace import calc_packets, find_legacy_drop, find_nft_drop

    packets = list(calc_packets(bridge, subnets, is_masqueraded))
    return find_nft_drop(bases, packets, env) or find_legacy_drop(legacy, packets, env)


def has_foreign_bases(backend: str, env: "Mapping[str, str]") -> bool:
    """Return whether nf_tables has base chains of others that could drop anything that is forwarded.

    Args:
        backend: what a network's own rules are made with.
        env: the environment.
    """
    return bool(_list_foreign_bases(backend, env))


def _list_foreign_bases(backend: str, env: "Mapping[str, str]") -> list[BaseChain]:
    bases = _list_bases()
    if bases and backend == IPTABLES and not _is_legacy(env):
        # In chains of the program that makes a network's own rules, these come first.
        return [base for base in bases if not base.is_iptables]
    return bases


def _is_legacy(env: "Mapping[str, str]") -> bool:
    """Return whether the variant of iptables that is installed is the legacy one; its file's name tells."""
    path = find_program("iptables-restore", env.get("PATH", "")) or ""
    # Not os.path.realpath, which looks at each directory on the way, and takes as long as the rest of this.
    for _ in range(_MAX_LINKS):
        if "nft" in os.path.basename(path):
            return False
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:
            break  # not a link
    return True


def _uses_legacy(version: int) -> bool:
    try:
        return b"filter" in list_legacy_tables(version)
    except OSError:
        return False


def _list_bases() -> list[BaseChain]:
    """Return the base chains of the hook forward that could drop anything, without networks' own."""
    try:
        with NetlinkSocket(protocol=_NETLINK_NETFILTER) as sock:
            entries = sock.dump(
                NetlinkRequest(_NFT_MSG_GETCHAIN, 0, bytes(_NFGENMSG_SIZE), "cannot list chains")
            )
    except (OSError, NetlinkError):
        return []  # the kernel has no nf_tables
    bases: list[tuple[BaseChain, int]] = []
    # How many jumps there are to strictly isolated networks' chains: one each.
    jumps: dict[tuple[str, str], int] = {}
    for entry in entries:
        # Most chains are irrelevant, and parsing them takes longer than the dump.
        if _IN_FORWARD not in entry and _IN_STRICT not in entry:
            continue
        attrs = parse_attrs(entry, _NFGENMSG_SIZE)
        family = _FAMILIES.get(entry[0], "")
        hook = parse_attrs(attrs.get(_NFTA_CHAIN_HOOK, b""))
        table, name = parse_string(attrs[_NFTA_CHAIN_TABLE]), parse_string(attrs[_NFTA_CHAIN_NAME])
        if is_strict_chain(name):
            jumps[family, table] = jumps.get((family, table), 0) + 1
        if family and hook.get(_NFTA_HOOK_HOOKNUM) == _NF_INET_FORWARD and not table.startswith(_OWN_TABLES):
            policy = "accept" if any(attrs.get(_NFTA_CHAIN_POLICY, b"\1")) else "drop"
            rules = int.from_bytes(attrs.get(_NFTA_CHAIN_USE, b"\1"), "big")
            bases.append((BaseChain(family, table, name, policy), rules))
    return [
        base
        for base, rules in bases
        if base.policy == "drop" or rules > jumps.get((base.family, base.table), 0)
    ]
