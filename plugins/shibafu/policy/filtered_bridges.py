"""The bridges whose frames netfilter sees because of policies, which end with the policies.

A bridge that somebody else has set so stays so: only those that were switched on here are noted, each by an
empty file in `/run/shibafu/policy/<cookie and boot of the host's namespace>.bridges`.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.lean.files import write_file
from shibafu.netfilter.bridging import ensure_bridged, leave_bridged
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def filter_bridges(bridges: "Iterable[str]", sock: NetlinkSocket | None = None) -> None:
    """Have netfilter see what bridges forward, with br_netfilter.

    Raises:
        NetlinkError: the kernel refuses.
        OSError: what was done cannot be noted.
    """
    if sock is None:
        with NetlinkSocket() as own:
            changed = ensure_bridged(bridges, own)
    else:
        changed = ensure_bridged(bridges, sock)
    if changed:
        directory = _find_directory()
        make_directory(directory, 0o700)
        for name in changed:
            write_file(f"{directory}/{name}", b"")


def release_bridges() -> None:
    """Switch off what was switched on.

    Raises:
        NetlinkError: the kernel refuses.
    """
    directory = _find_directory()
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    leave_bridged(names)
    for name in names:
        os.unlink(f"{directory}/{name}")
    os.rmdir(directory)


def _find_directory() -> str:
    # Not by the inode's number, which is used again: those bridges went with their namespace.
    directory = f"/run/shibafu/policy/{calc_mark()}.bridges"
    secure_directories("/run/shibafu", "/run/shibafu/policy", directory)
    return directory
