"""What uplinks had, as it is remembered while it is their bridge's.

The record is `/run/shibafu/moved/<inode of the namespace>-<bridge>`. It is of a name and not of a number:
the addresses are put on another bridge of that name if the first one is deleted.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.netlink.link import Link, link_by_index, link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/moved"
_LARGEST = 1 << 20


class MovedLink:
    """What a link had before it became an uplink.

    Args:
        index: its number.
        name: its name.
        mac: its hardware address.
        addresses: as of `addr_save`.
        routes: through it, as of `route_save`.
    """

    __slots__ = ("addresses", "index", "mac", "name", "routes")

    def __init__(
        self, index: int, name: str, mac: bytes, addresses: list[bytes], routes: list[bytes]
    ) -> None:
        self.index = index
        self.name = name
        self.mac = mac
        self.addresses = addresses
        self.routes = routes

    def describes(self, link: Link) -> bool:
        """Return whether it is of a link: at least two of number, name and hardware address are the same.

        Numbers are used again, and a link that was unplugged has another one when it is back.
        """
        same = (link.index == self.index, link.name == self.name, link.mac == self.mac)
        return sum(same) >= 2


def read_moved(bridge: str) -> list[MovedLink]:
    """Return what uplinks of a bridge had; nothing where the record is of another namespace.

    Raises:
        CniError: it cannot be read.
    """
    content = read_file(_calc_place(bridge), _LARGEST)
    if content is None:
        return []
    try:
        document: Any = loads(content)
        if document["namespace"] != calc_mark():
            return []
        return [
            MovedLink(
                one["index"],
                one["name"],
                bytes.fromhex(one["mac"]),
                list(map(bytes.fromhex, one["addresses"])),
                list(map(bytes.fromhex, one["routes"])),
            )
            for one in document["links"]
        ]
    except (KeyError, TypeError, ValueError):
        path = _calc_place(bridge)
        advice = "delete the file, and put back by hand what the uplinks had"
        raise CniError(IO_FAILURE, f"{path} does not say which addresses were moved", advice) from None


def write_moved(bridge: str, links: list[MovedLink]) -> None:
    """Remember what uplinks of a bridge had; the lock of uplinks is held.

    Raises:
        OSError: it cannot be written.
        CniError: others could write to the directory.
    """
    document = {
        "namespace": calc_mark(),
        "links": [
            {
                "index": moved.index,
                "name": moved.name,
                "mac": moved.mac.hex(),
                "addresses": [one.hex() for one in moved.addresses],
                "routes": [one.hex() for one in moved.routes],
            }
            for moved in links
        ],
    }
    secure_directories(_ROOT, _DIRECTORY)
    make_directory(_DIRECTORY, 0o700)
    replace_file(_calc_place(bridge), dumps(document).encode())


def forget_moved(bridge: str) -> None:
    """Forget it, once the links have it again."""
    remove_file(_calc_place(bridge))


def find_moved_link(sock: NetlinkSocket, moved: MovedLink) -> Link | None:
    """Return the link, also if it was renamed, or unplugged and plugged in again; None if it is not there."""
    found = (link_by_index(sock, moved.index), link_by_name(sock, moved.name))
    return next((link for link in found if link is not None and moved.describes(link)), None)


def _calc_place(bridge: str) -> str:
    return f"{_DIRECTORY}/{os.stat('/proc/self/ns/net').st_ino}-{bridge}"
