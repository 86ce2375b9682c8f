"""Whether a container's network namespace is still there; without it, its addresses are of no use."""

import os

from shibafu.resource.identity import NetnsIdentity, find_process_namespace, identify_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu_ipam.index_records import IndexRecord

_MOUNTS = "/proc/self/ns/mnt"


def calc_view(path: str, number: tuple[int, int | None] | None = None) -> str:
    """Return what a record says about the namespace at `path`, apart from the path; empty if there is none.

    Args:
        path: where it is.
        number: its inode number and cookie, if these are known.

    That is `<view>@<inode>.<cookie>`, without the cookie where the kernel has none. Earlier versions wrote
    the view alone, and take one of this version for a view that is not theirs.

    The view says from where the path was seen. It means something to those who have the same mounts; below
    /proc, to those who also number processes alike.
    """
    if number is None:
        seen = identify_netns(path)
        number = seen.number if seen is not None else None
    try:
        view = str(os.stat(_MOUNTS).st_ino)
    except OSError:
        return ""
    if number is None:
        return ""
    processes = find_process_namespace(path)
    if processes:
        view = f"{view}.{processes}"
    inode, cookie = number
    return f"{view}@{inode}" + (f".{cookie}" if cookie is not None else "")


def is_abandoned(record: "IndexRecord | None") -> bool:
    """Return whether the namespace of an attachment is certainly gone, or another one in its place.

    What was recorded from elsewhere, or by a version that did not say from where, counts as being
    there: an address that is kept too long costs an address, one that is given away too early two
    containers their network.
    """
    if record is None or not record.view:
        return False
    view, _, number = record.view.partition("@")
    mounts, _, processes = view.partition(".")
    try:
        if str(os.stat(_MOUNTS).st_ino) != mounts:
            return False
    except OSError:
        return False
    if processes and processes != str(find_process_namespace(record.netns)):
        return False
    inode, _, cookie = number.partition(".")
    # The boot is the index's matter.
    return NetnsIdentity(record.netns, _parse_number(inode) or 0, _parse_number(cookie)).has_ended()


def _parse_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
