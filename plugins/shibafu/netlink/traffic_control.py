"""Traffic control, tc(8): what delays a link's packets (qdiscs), and what redirects them (filters).

A link is given by its index: these messages know no names.
"""

from errno import EINVAL, ENODEV, ENOENT
from struct import Struct
from sys import byteorder

from shibafu.netlink.codec import (
    attr,
    attr_nested,
    attr_string,
    attr_u32,
    parse_attr_list,
    parse_attrs,
    parse_header,
    parse_int,
    parse_string,
)
from shibafu.netlink.constants import (
    AF_UNSPEC,
    ETH_P_ALL,
    NLM_F_CREATE,
    NLM_F_ECHO,
    NLM_F_REPLACE,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TC_ACT_STOLEN,
    TC_H_INGRESS,
    TC_H_ROOT,
    TC_LINKLAYER_ETHERNET,
    TC_U32_TERMINAL,
    TCA_ACT_KIND,
    TCA_ACT_OPTIONS,
    TCA_EGRESS_REDIR,
    TCA_KIND,
    TCA_MIRRED_PARMS,
    TCA_OPTIONS,
    TCA_TBF_PARMS,
    TCA_TBF_RATE64,
    TCA_U32_ACT,
    TCA_U32_CLASSID,
    TCA_U32_SEL,
)
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

_TCMSG = Struct("=BxxxiIII")  # family, link, handle, parent, info
# Cell log, link layer, overhead, cell align, MPU, rate; the same of the peak rate; limit, buffer, MTU.
_TBF_QOPT = Struct("=BBHhHIBBHhHIIII")
# Flags, offset shift, number of keys, offset mask, offset, offset of that, hash offset, hash mask.
_U32_SEL = Struct("=BBBxHHhhI")
_U32_KEY = Struct("=IIii")  # mask, value, offset, offset mask
_MIRRED = Struct("=IIiiiiI")  # index, capabilities, action, references, bindings, direction, link

_TBF_HANDLE = 0x10000  # 1:
_INGRESS_HANDLE = 0xFFFF0000  # ffff:
# The first entry of the first hash table of a u32 filter, 800::800.
_FILTER_HANDLE = 0x80000800
_FILTER_PRIORITY = 1
_FILTER_NODE = 0xFFF
_MATCH_ALL = _U32_SEL.pack(TC_U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + _U32_KEY.pack(0, 0, 0, 0)
_MAX_U32 = 0xFFFFFFFF

# Of the kernel's packet scheduler clock (/proc/net/psched): a tick has 64 ns.
TICKS_PER_SECOND = 15_625_000


class TokenBucket:
    """The parameters of a token bucket filter, tc-tbf(8).

    Args:
        rate: In bytes a second.
        limit: How many bytes may wait.
        buffer: The depth of the bucket, as the time in ticks that it takes to fill.
    """

    __slots__ = ("buffer", "limit", "rate")

    def __init__(self, rate: int, limit: int, buffer: int) -> None:
        self.rate = rate
        self.limit = limit
        self.buffer = buffer


class Qdisc:
    """What delays a link's packets.

    Args:
        kind: "tbf", "ingress", ...
        handle: Its number on the link.
        options: Its parameters, encoded.
    """

    __slots__ = ("_options", "handle", "kind")

    def __init__(self, kind: str, handle: int, options: bytes) -> None:
        self.kind = kind
        self.handle = handle
        self._options = options

    @property
    def token_bucket(self) -> TokenBucket | None:
        """The parameters of a token bucket filter; None for another kind.

        Raises:
            NetlinkDecodeError: they are malformed.
        """
        if self.kind != "tbf":
            return None
        attrs = parse_attrs(self._options)
        fields = parse_header(_TBF_QOPT, attrs.get(TCA_TBF_PARMS, b""))
        rate64 = attrs.get(TCA_TBF_RATE64)
        rate = parse_int(rate64, 8) if rate64 is not None else fields[5]
        return TokenBucket(rate, fields[12], fields[13])


class Filter:
    """A rule of what to do with packets that come in.

    Args:
        kind: "u32", "flower", ...
        handle: Its number among those of its priority.
        priority: Lower ones come first.
        targets: The indexes of links that it redirects packets to; 0 for one that is gone.
    """

    __slots__ = ("handle", "kind", "priority", "targets")

    def __init__(self, kind: str, handle: int, priority: int, targets: list[int]) -> None:
        self.kind = kind
        self.handle = handle
        self.priority = priority
        self.targets = targets


def qdisc_replace_tbf(link: int, bucket: TokenBucket) -> NetlinkRequest:
    """Request that a link send at a limited rate; one that it has is changed, and loses no packet."""
    rate = (0, TC_LINKLAYER_ETHERNET, 0, 0, 0, min(bucket.rate, _MAX_U32))
    parameters = _TBF_QOPT.pack(*rate, 0, 0, 0, 0, 0, 0, bucket.limit, bucket.buffer, 0)
    options = attr(TCA_TBF_PARMS, parameters)
    if bucket.rate > _MAX_U32:
        options += attr(TCA_TBF_RATE64, bucket.rate.to_bytes(8, byteorder))
    payload = _tcmsg(link, _TBF_HANDLE, TC_H_ROOT) + attr_string(TCA_KIND, "tbf")
    return NetlinkRequest(
        RTM_NEWQDISC,
        NLM_F_CREATE | NLM_F_REPLACE,
        payload + attr_nested(TCA_OPTIONS, options),
        f"cannot limit the rate of link {link}",
    )


def qdisc_del_tbf(link: int) -> NetlinkRequest:
    """Request that a link have no longer the limit that `qdisc_replace_tbf` gave it; other qdiscs stay.

    Like the other requests to remove something, it succeeds if the link has gone since it was looked up.
    """
    payload = _tcmsg(link, _TBF_HANDLE, TC_H_ROOT) + attr_string(TCA_KIND, "tbf")
    what = f"cannot lift the limit of link {link}"
    return NetlinkRequest(RTM_DELQDISC, 0, payload, what, (ENOENT, EINVAL, ENODEV))


def qdisc_del_root(link: int) -> NetlinkRequest:
    """Request that a link have the kernel's default again in place of any qdisc."""
    what = f"cannot remove the qdisc of link {link}"
    return NetlinkRequest(RTM_DELQDISC, 0, _tcmsg(link, 0, TC_H_ROOT), what, (ENOENT, EINVAL, ENODEV))


def qdisc_add_ingress(link: int) -> NetlinkRequest:
    """Request that a link take filters for what comes in; one that does already stays as it is."""
    payload = _tcmsg(link, _INGRESS_HANDLE, TC_H_INGRESS) + attr_string(TCA_KIND, "ingress")
    return NetlinkRequest(
        RTM_NEWQDISC, NLM_F_CREATE, payload, f"cannot have link {link} filter what comes in"
    )


def qdisc_del_ingress(link: int) -> NetlinkRequest:
    """Request that a link have no filters any more for what comes in."""
    payload = _tcmsg(link, _INGRESS_HANDLE, TC_H_INGRESS) + attr_string(TCA_KIND, "ingress")
    what = f"cannot remove the filters of link {link}"
    return NetlinkRequest(RTM_DELQDISC, 0, payload, what, (ENOENT, EINVAL, ENODEV))


def filter_redirect(link: int, target: int) -> NetlinkRequest:
    """Request that everything received by a link leave by another one; an earlier redirection is replaced.

    Args:
        link: Index of the link, which takes filters (`qdisc_add_ingress`).
        target: Index of the other one.
    """
    action = attr_nested(
        1,  # the first of the filter's actions
        attr_string(TCA_ACT_KIND, "mirred"),
        attr_nested(
            TCA_ACT_OPTIONS,
            attr(TCA_MIRRED_PARMS, _MIRRED.pack(0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, target)),
        ),
    )
    options = attr_nested(
        TCA_OPTIONS,
        attr(TCA_U32_SEL, _MATCH_ALL),
        attr_u32(TCA_U32_CLASSID, 0x10001),
        attr_nested(TCA_U32_ACT, action),
    )
    payload = _filter_message(link, _FILTER_PRIORITY, _FILTER_HANDLE) + attr_string(TCA_KIND, "u32") + options
    what = f"cannot redirect what comes in by link {link} to link {target}"
    return NetlinkRequest(RTM_NEWTFILTER, NLM_F_CREATE, payload, what)


def filter_del(link: int, rule: Filter) -> NetlinkRequest:
    """Request that a filter of a link be removed; that it is gone is all right."""
    payload = _filter_message(link, rule.priority, rule.handle) + attr_string(TCA_KIND, rule.kind)
    return NetlinkRequest(
        RTM_DELTFILTER, 0, payload, f"cannot remove a filter of link {link}", (ENOENT, EINVAL, ENODEV)
    )


def root_qdisc(sock: NetlinkSocket, link: int) -> Qdisc | None:
    """Return what delays the packets that a link sends; None if nothing but the kernel's default does."""
    # Without the flag, only subscribers would be told.
    what = f"cannot look up the qdisc of link {link}"
    request = NetlinkRequest(RTM_GETQDISC, NLM_F_ECHO, _tcmsg(link, 0, TC_H_ROOT), what)
    try:
        # Of the kernel's default, some versions say nothing, and others that there is none.
        payload = sock.find(request)
    except NetlinkError as error:
        if error.errno not in (ENOENT, EINVAL):
            raise
        payload = None
    if payload is None:
        return None
    handle = parse_header(_TCMSG, payload)[2]
    attrs = parse_attrs(payload, _TCMSG.size)
    return Qdisc(parse_string(attrs.get(TCA_KIND, b"")), handle, attrs.get(TCA_OPTIONS, b""))


def filter_list(sock: NetlinkSocket, link: int) -> list[Filter]:
    """Return the filters for what comes in by a link."""
    request = NetlinkRequest(
        RTM_GETTFILTER, 0, _tcmsg(link, 0, _INGRESS_HANDLE), f"cannot list the filters of link {link}"
    )
    return [found for found in map(_parse_filter, sock.dump(request)) if found is not None]


def _parse_filter(payload: bytes) -> Filter | None:
    """Decode the payload of RTM_NEWTFILTER; None for a hash table, in which filters are."""
    _, _, handle, _, info = parse_header(_TCMSG, payload)
    attrs = parse_attrs(payload, _TCMSG.size)
    kind = parse_string(attrs.get(TCA_KIND, b""))
    if kind != "u32":
        return Filter(kind, handle, info >> 16, [])
    if not handle & _FILTER_NODE:
        return None
    options = parse_attrs(attrs.get(TCA_OPTIONS, b""))
    targets = []
    for _, action in parse_attr_list(options.get(TCA_U32_ACT, b"")):
        fields = parse_attrs(action)
        if parse_string(fields.get(TCA_ACT_KIND, b"")) == "mirred":
            parameters = parse_attrs(fields.get(TCA_ACT_OPTIONS, b"")).get(TCA_MIRRED_PARMS, b"")
            targets.append(parse_header(_MIRRED, parameters)[-1])
    return Filter(kind, handle, info >> 16, targets)


def _filter_message(link: int, priority: int, handle: int) -> bytes:
    return _tcmsg(link, handle, _INGRESS_HANDLE, priority << 16 | _PROTOCOL_ALL)


def _tcmsg(link: int, handle: int, parent: int, info: int = 0) -> bytes:
    return _TCMSG.pack(AF_UNSPEC, link, handle, parent, info)


# In network byte order.
_PROTOCOL_ALL = int.from_bytes(ETH_P_ALL.to_bytes(2, "big"), byteorder)
