"""Which of a bridge's uplinks is active: choosing it, switching to it, and remembering it.

What was made a port is remembered in `/run/shibafu/uplinks/<inode of the namespace>-<bridge>`, by numbers:
whatever the configuration states later, and whatever the link is called then, it has to leave the bridge
before another enters.
"""

import os
from errno import ENODEV

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.lock import Lock
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.netlink.constants import IFF_LOWER_UP
from shibafu.netlink.link import Link, link_by_index
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/uplinks"
_LARGEST = 4096
# Seconds; a change takes milliseconds.
_PATIENCE = 10.0


def lock_uplinks(bridge: str, patience: float = _PATIENCE) -> Lock:
    """Return the lock that everybody holds who changes which uplink of a bridge is active."""
    what = f"the uplinks of bridge {bridge}"
    return Lock(f"uplinks-{_calc_name(bridge)}", what, handed_down=False, patience=patience)


def order_uplinks(links: "Iterable[Link]", bridge: Link) -> list[Link]:
    """Return uplinks in the order in which to try them: by carrier, then what is active, then as stated."""
    return sorted(links, key=lambda link: (not has_carrier(link), link.master != bridge.index))


def has_carrier(link: Link) -> bool:
    """Return whether a link is up and has a carrier."""
    return bool(link.flags & IFF_LOWER_UP)


def find_dropped(sock: NetlinkSocket, bridge: Link, names: "Iterable[str]") -> Link | None:
    """Return the bridge's port that is a former uplink, no longer in the list; None if there is none.

    Args:
        sock: a socket of the namespace.
        bridge: the bridge.
        names: its uplinks now.
    """
    index = recall_uplink(bridge.name, bridge.index)
    link = link_by_index(sock, index) if index else None
    return link if link is not None and link.master == bridge.index and link.name not in names else None


def release_dropped(sock: NetlinkSocket, bridge: Link, names: "Iterable[str]") -> None:
    """Take such a port away from the bridge; the lock is held.

    Raises:
        NetlinkError: the kernel refuses.
    """
    dropped = find_dropped(sock, bridge, names)
    if dropped is not None:
        sock.request(link_set(dropped.index, master=0).ignoring(ENODEV))


def activate_uplink(sock: NetlinkSocket, bridge: Link, links: "Iterable[Link]", chosen: Link) -> None:
    """Make one uplink the bridge's only port among its uplinks, and remember it; the lock is held.

    If it cannot be a port, what was one is one again.

    Args:
        sock: a socket of the namespace.
        bridge: the bridge.
        links: its uplinks, as they are now.
        chosen: one of them.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: it cannot be remembered.
        CniError: others could write to the directory.
    """
    release_dropped(sock, bridge, [link.name for link in links])
    former = [link for link in links if link.index != chosen.index and link.master == bridge.index]
    for link in former:
        sock.request(link_set(link.index, master=0).ignoring(ENODEV))
    # Before it enters: a port that nobody remembers could stay when another enters.
    remember_uplink(bridge, chosen)
    if chosen.master == bridge.index:
        return
    try:
        sock.request(link_set(chosen.index, up=True, master=bridge.index))
    except OSError:
        if former:
            remember_uplink(bridge, former[0])
            sock.request(link_set(former[0].index, master=bridge.index).ignoring(ENODEV))
        raise


def recall_uplink(bridge: str, index: int) -> int:
    """Return the number of the link that was made a port of a bridge last; 0 if none was.

    Args:
        bridge: the bridge's name.
        index: its number: another bridge that had the name does not count.
    """
    words = (read_file(_calc_path(bridge), _LARGEST) or b"").decode(errors="replace").split()
    # Numbers of namespaces are used again, too.
    if len(words) != 3 or words[:2] != [calc_mark(), str(index)] or not words[2].isdecimal():
        return 0
    return int(words[2])


def forget_uplink(bridge: str) -> None:
    """Forget which uplink was active, of a bridge that is gone."""
    remove_file(_calc_path(bridge))


def remember_uplink(bridge: Link, link: Link) -> None:
    """Remember what is about to be the bridge's port; the lock is held.

    Raises:
        OSError: it cannot be written.
        CniError: others could write to the directory.
    """
    if recall_uplink(bridge.name, bridge.index) != link.index:
        secure_directories(_ROOT, _DIRECTORY)
        make_directory(_DIRECTORY, 0o700)
        replace_file(_calc_path(bridge.name), f"{calc_mark()} {bridge.index} {link.index}".encode())


def _calc_path(bridge: str) -> str:
    return f"{_DIRECTORY}/{_calc_name(bridge)}"


def _calc_name(bridge: str) -> str:
    return f"{os.stat('/proc/self/ns/net').st_ino}-{bridge}"
