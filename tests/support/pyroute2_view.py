"""pyroute2's view of the bytes that shibafu.netlink makes: the oracle of the wire tests."""

from ipaddress import ip_address
from typing import Any

from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from shibafu.netlink.codec import pack_message
from shibafu.netlink.socket import NetlinkRequest

# By message type divided by 4: link, address, route, neighbour, rule, qdisc, filter.
_MESSAGES = {4: ifinfmsg, 5: ifaddrmsg, 6: rtmsg, 7: ndmsg, 8: fibmsg, 9: tcmsg, 11: tcmsg}

# Fields of a header that say nothing here, and pyroute2's own additions.
_NOISE = {"__align", "__pad", "header", "attrs", "event", "state_name"}


def decode(request: NetlinkRequest) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return what pyroute2 reads in a request: the fixed header's fields, and the attributes in order.

    Nested attributes are lists of the same form; a header inside an attribute is its first member.
    """
    message = _MESSAGES[request.type // 4](pack_message(request.type, request.flags, 7, request.payload))
    message.decode()
    header = message["header"]
    assert header["type"] == request.type
    assert header["flags"] == request.flags
    assert header["sequence_number"] == 7
    assert header["length"] == 16 + len(request.payload)
    fields = {name: value for name, value in message.items() if name not in _NOISE}
    return fields, plain(message["attrs"])


def plain(attrs: Any) -> list[tuple[str, Any]]:
    """Reduce pyroute2's attributes to tuples, lists and scalars."""
    return [(attr[0], _plain_value(attr[1])) for attr in attrs]


def attr(message: Any, *path: str) -> Any:
    """Follow a path of attribute names into a pyroute2 message; None where it ends."""
    for name in path:
        message = message.get_attr(name) if message is not None else None
    return message


def packed_mac(text: str | None) -> bytes:
    """Return pyroute2's form of a MAC address as bytes."""
    return bytes.fromhex(text.replace(":", "")) if text else b""


def packed_ip(text: str | None) -> bytes | None:
    """Return pyroute2's form of an IP address as bytes."""
    return ip_address(text).packed if text else None


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict) and "attrs" in value:
        return plain(value["attrs"])
    if isinstance(value, dict):
        return dict(value)
    return value
