"""Rules that choose a routing table by a packet's source (linux/fib_rules.h, ip-rule(8))."""

from struct import Struct

from shibafu.netlink.codec import attr, attr_u32, parse_attrs, parse_header, parse_int
from shibafu.netlink.constants import NLM_F_CREATE, NLM_F_EXCL, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE
from shibafu.netlink.inet import calc_family, ip_text
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# struct fib_rule_hdr: family, lengths of both prefixes, type of service, table, reserved, action, flags
_HEADER = Struct("=BBBBBxxBI")
_FRA_SRC, _FRA_PRIORITY, _FRA_TABLE = 2, 6, 15
_FR_ACT_TO_TBL = 1


class SourceRule:
    """A rule about packets from one address.

    Args:
        source: the address.
        table: number of the routing table that they are routed by.
        priority: the lower, the earlier.
    """

    __slots__ = ("priority", "source", "table")

    def __init__(self, source: bytes, table: int, priority: int) -> None:
        self.source = source
        self.table = table
        self.priority = priority


def rule_list(sock: NetlinkSocket, family: int) -> list[SourceRule]:
    """Return the rules about single addresses; others are left out.

    Args:
        sock: a socket of the namespace.
        family: AF_INET or AF_INET6.
    """
    payload = _HEADER.pack(family, 0, 0, 0, 0, 0, 0)
    entries = sock.dump(NetlinkRequest(RTM_GETRULE, 0, payload, "cannot list routing rules"))
    return [rule for rule in map(_parse_rule, entries) if rule is not None]


def rule_add(rule: SourceRule) -> NetlinkRequest:
    """Request a new rule."""
    what = f"cannot add the routing rule from {ip_text(rule.source)}"
    return NetlinkRequest(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _pack_rule(rule), what)


def rule_del(rule: SourceRule) -> NetlinkRequest:
    """Request that a rule be deleted."""
    what = f"cannot delete the routing rule from {ip_text(rule.source)}"
    return NetlinkRequest(RTM_DELRULE, 0, _pack_rule(rule), what)


def _pack_rule(rule: SourceRule) -> bytes:
    source = rule.source
    header = _HEADER.pack(calc_family(source), 0, len(source) * 8, 0, 0, _FR_ACT_TO_TBL, 0)
    attrs = attr_u32(_FRA_TABLE, rule.table) + attr_u32(_FRA_PRIORITY, rule.priority)
    return header + attr(_FRA_SRC, source) + attrs


def _parse_rule(payload: bytes) -> SourceRule | None:
    _, _, length, _, table, action, _ = parse_header(_HEADER, payload)
    attrs = parse_attrs(payload, _HEADER.size)
    source = attrs.get(_FRA_SRC, b"")
    if action != _FR_ACT_TO_TBL or not source or length != len(source) * 8:
        return None
    number = parse_int(attrs[_FRA_TABLE], 4) if _FRA_TABLE in attrs else table
    # That of the first rule, 0, is left out.
    priority = parse_int(attrs[_FRA_PRIORITY], 4) if _FRA_PRIORITY in attrs else 0
    return SourceRule(source, number, priority)
