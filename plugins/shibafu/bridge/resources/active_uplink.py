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
from shibafu.netlink.link import Link, link_by_index, link_by_name
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/uplinks"
_LARGEST = 4096
# The word of a record that says that STP was turned on.
_TREE = "stp"
# Seconds; a change takes milliseconds.
_PATIENCE = 10.0


def lock_uplinks(bridge: str, patience: float = _PATIENCE) -> Lock:
    """Return the lock that everybody holds who changes which uplink of a bridge is active."""
    what = f"the uplinks of bridge {bridge}"
    return Lock(f"uplinks-{_calc_name(bridge)}", what, handed_down=False, patience=patience)


def order_uplinks(links: "Iterable[Link]", bridge: Link) -> list[Link]:
    """Return uplinks in the order in which to try them: by carrier, then what is active, then as stated."""
    return sorted(links, key=lambda link: (not has_carrier(link), link.master != bridge.index))


def list_uplinks(sock: NetlinkSocket, names: "Iterable[str]") -> list[Link]:
    """Return those uplinks that are there, in the order of their names.

    The kernel finds a link by alternative names, too (`ip link property add`). Those do not count: two names
    could be one link's, and what was made a port is compared with the names that are stated.
    """
    found = ((name, link_by_name(sock, name)) for name in names)
    return [link for name, link in found if link is not None and link.name == name]


def has_carrier(link: Link) -> bool:
    """Return whether a link is up and has a carrier."""
    return bool(link.flags & IFF_LOWER_UP)


def find_dropped(sock: NetlinkSocket, bridge: Link, names: "Iterable[str]") -> list[Link]:
    """Return the bridge's ports that are former uplinks, no longer in the list.

    Args:
        sock: a socket of the namespace.
        bridge: the bridge.
        names: its uplinks now.
    """
    found = (link_by_index(sock, index) for index in recall_uplinks(bridge.name, bridge.index))
    return [
        link for link in found if link is not None and link.master == bridge.index and link.name not in names
    ]


def release_dropped(sock: NetlinkSocket, bridge: Link, names: "Iterable[str]") -> None:
    """Take such ports away from the bridge; the lock is held.

    Raises:
        NetlinkError: the kernel refuses.
    """
    for dropped in find_dropped(sock, bridge, names):
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
    remember_uplinks(bridge, [chosen])
    if chosen.master == bridge.index:
        return
    try:
        sock.request(link_set(chosen.index, up=True, master=bridge.index))
    except OSError:
        if former:
            remember_uplinks(bridge, former[:1])
            sock.request(link_set(former[0].index, master=bridge.index).ignoring(ENODEV))
        raise


def recall_uplinks(bridge: str, index: int) -> list[int]:
    """Return the numbers of the links that were made ports of a bridge last.

    Args:
        bridge: the bridge's name.
        index: its number: another bridge that had the name does not count.
    """
    return [int(number) for number in _read_record(bridge, index)[0].split(",") if number.isdecimal()]


def recalls_tree(bridge: str, index: int) -> bool:
    """Return whether STP was turned on for the uplinks of a bridge; see `recall_uplinks`."""
    return _read_record(bridge, index)[1] == _TREE


def _read_record(bridge: str, index: int) -> list[str]:
    """Return the numbers of uplinks and, perhaps, that they need STP, as they are written."""
    words = (read_file(_calc_path(bridge), _LARGEST) or b"").decode(errors="replace").split()
    # Numbers of namespaces are used again, too.
    is_valid = 3 <= len(words) <= 4 and words[:2] == [calc_mark(), str(index)]
    return [*words[2:], ""][:2] if is_valid else ["", ""]


def forget_uplink(bridge: str) -> None:
    """Forget which uplink was active, of a bridge that is gone."""
    remove_file(_calc_path(bridge))
    remove_file(calc_outage_path(bridge))


def calc_outage_path(bridge: str) -> str:
    """Return the file in which keepalived reads whether all uplinks of a bridge are dead: 1, or 0."""
    return f"{_DIRECTORY}/dead-{_calc_name(bridge)}"


def note_outage(bridge: str, is_dead: bool) -> None:
    """Tell keepalived whether all uplinks of a bridge are dead: then other hosts cannot reach a gateway here.

    Raises:
        OSError: it cannot be written.
        CniError: others could write to the directory.
    """
    secure_directories(_ROOT, _DIRECTORY)
    make_directory(_DIRECTORY, 0o700)
    replace_file(calc_outage_path(bridge), b"1\n" if is_dead else b"0\n")


def has_outage(bridge: str) -> bool:
    """Return whether keepalived has been told that all uplinks of a bridge are dead."""
    return read_file(calc_outage_path(bridge), _LARGEST) == b"1\n"


def has_stale_outage(bridge: str) -> bool:
    """Return whether it has been told so by a watcher that has ended, and cannot take it back."""
    if not has_outage(bridge):
        return False
    from shibafu.cni.sole_process import is_at_work

    return not is_at_work("watch")


def remember_uplinks(bridge: Link, links: "Iterable[Link]", has_tree: bool | None = None) -> None:
    """Remember what is about to be a port of the bridge; the lock is held.

    Args:
        bridge: the bridge.
        links: all its uplinks that are.
        has_tree: whether STP was turned on for them; None leaves that as it is.

    Raises:
        OSError: it cannot be written.
        CniError: others could write to the directory.
    """
    former = _read_record(bridge.name, bridge.index)
    is_tree = former[1] == _TREE if has_tree is None else has_tree
    record = [",".join(str(link.index) for link in links) or "-", _TREE if is_tree else ""]
    if record != former:
        secure_directories(_ROOT, _DIRECTORY)
        make_directory(_DIRECTORY, 0o700)
        text = f"{calc_mark()} {bridge.index} {' '.join(record)}".rstrip()
        replace_file(_calc_path(bridge.name), text.encode())


def _calc_path(bridge: str) -> str:
    return f"{_DIRECTORY}/{_calc_name(bridge)}"


def _calc_name(bridge: str) -> str:
    return f"{os.stat('/proc/self/ns/net').st_ino}-{bridge}"
