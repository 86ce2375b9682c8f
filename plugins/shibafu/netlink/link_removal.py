"""Deleting links without waiting for the kernel's grace period: one, or many with one wait.

The kernel takes a link and its veth peer out of their namespaces and announces that within 2 ms, but answers
the request 20 ms later, when no processor can hold a reference to the link any more (RCU). Nobody needs that
wait. It happens inside the system call that sends the request, hence in another process.

Many links are deleted as a group (IFLA_GROUP), for which the kernel waits once.
"""

import os
import sys
import time
from _thread import start_new_thread
from errno import ENODEV

from shibafu.netlink.codec import parse_header
from shibafu.netlink.constants import AF_UNSPEC, IF_OPER_DORMANT, RTM_DELLINK, RTMGRP_LINK
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import IFINFOMSG, Link, link_by_index, link_by_name
from shibafu.netlink.link_requests import link_del, link_del_group, link_set
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds to wait for the announcement. If it comes later, something is wrong with the child, or the kernel is
# so busy that 20 ms do not matter.
_PATIENCE = 0.25
# Links that are deleted at once: for as long as that takes, some 100 ms, nobody else can change links (RTNL).
_BATCH_SIZE = 64


def link_del_announced(link: int | str, meanwhile: "Callable[[], object] | None" = None) -> bool:
    """Delete a link, and return as soon as both ends of it are gone.

    Args:
        link: Index or name.
        meanwhile: What to do while the kernel is at work, which is 2 ms.

    Returns:
        False if there was no such link.

    Raises:
        NetlinkError: the kernel's refusal.
    """
    # Requests go over a socket of their own: where much is going on, a subscriber's answers get lost among
    # the announcements (ENOBUFS). Subscribing comes before looking, in case somebody else deletes it now.
    with NetlinkSocket(RTMGRP_LINK, _PATIENCE) as watch, NetlinkSocket() as sock:
        found = link_by_name(sock, link) if isinstance(link, str) else link_by_index(sock, link)
        if found is None:
            return False
        is_started = _start_deletion(found.index)
        if meanwhile is not None:
            meanwhile()
        if not (is_started and _wait_announced(watch, found.index)):
            # Whatever went wrong in the child: this either succeeds or says why not. It cannot hit another
            # link, as the kernel counts indexes upwards.
            sock.request(link_del(found.index).ignoring(ENODEV))
    return True


def link_del_all(sock: NetlinkSocket, links: list[Link]) -> dict[str, NetlinkError]:
    """Delete links, and wait until they are gone; one that is already gone is not a failure.

    Args:
        sock: Where they are.
        links: What the kernel has told of them.

    Returns:
        The kernel's refusals, by the names of links that are left.
    """
    failures: dict[str, NetlinkError] = {}
    for start in range(0, len(links), _BATCH_SIZE):
        batch = links[start : start + _BATCH_SIZE]
        single = _delete_as_group(sock, batch) if len(batch) > 1 else batch
        for link in single:
            try:
                sock.request(link_del(link.index).ignoring(ENODEV))
            except NetlinkError as error:
                failures[link.name] = error
    return failures


def _delete_as_group(sock: NetlinkSocket, links: list[Link]) -> list[Link]:
    """Delete veth pairs and ifbs by one request; return what is left, to be deleted one by one.

    Should this process be killed, they are where they were, in a group that means nothing, and found by name.
    """
    candidates = [link for link in links if link.kind in ("veth", "ifb")]
    # A number for this call alone, which no rule names and which other calls do not delete.
    group = int.from_bytes(os.urandom(4), "little") >> 2 | 1 << 30
    # There are rules that keep out what the links of a group send. From here on nothing comes in: a bridge
    # disables a port that is dormant (one that is merely disabled it enables as its group changes).
    closed = sock.attempt_all([link_set(link.index, operstate=IF_OPER_DORMANT) for link in candidates])
    members = [link for link, error in zip(candidates, closed, strict=True) if error is None]
    if not members:
        return links
    # Setting one down takes until the frames that had come in before are through (RCU).
    sock.attempt_all([link_set(link.index, up=False) for link in members if link.up][:1])
    moved = sock.attempt_all([link_set(link.index, group=group) for link in members])
    gone = {
        link.index for link, error in zip(members, moved, strict=True) if not error or error.errno == ENODEV
    }
    try:
        sock.request(link_del_group(group).ignoring(ENODEV))
    except NetlinkError:
        return links
    return [link for link in links if link.index not in gone]


def _start_deletion(index: int) -> bool:
    """Have another process, or thread, delete the link; False if there can be none."""
    # A process of the engine stays until its threads have ended, and nobody waits for it.
    if getattr(sys, "shibafu_resident", False):
        try:
            start_new_thread(_delete, (index,))
        except RuntimeError:
            return False
        return True
    # A short process, such as the executables are, ends before its child, and init collects that. A long one
    # would keep a zombie; a second fork, which takes 0.7 ms, makes it an orphan. A thread that waits for it
    # would be quicker, but may crash an interpreter that ends at this moment.
    is_short = getattr(sys, "frozen", False)
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        try:
            # The runtime waits for the end of our output, others for our locks.
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            if is_short or _is_orphan():
                _delete(index)
        finally:
            # Not even an exception may go up from here: that code belongs to the parent.
            os._exit(0)
    if not is_short:
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass  # somebody ignores SIGCHLD, or collects all children there are
    return True


def _is_orphan() -> bool:
    """Fork, and return whether this is the process to go on: the child or, without one, the parent."""
    try:
        return os.fork() == 0
    except OSError:
        return True


def _delete(index: int) -> None:
    try:
        with NetlinkSocket() as sock:
            sock.request(link_del(index))
    except NetlinkError:
        pass  # the announcement that does not come makes the caller ask, and be told why


def _wait_announced(watch: NetlinkSocket, index: int) -> bool:
    """Wait until the kernel announces that a link is gone; False if it does not."""
    deadline = time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < deadline:
            for kind, _, _, _, payload in watch.receive():
                if kind == RTM_DELLINK:
                    family, _, gone, _, _ = parse_header(IFINFOMSG, payload)
                    # AF_BRIDGE says that the link, still there, has left its bridge.
                    if family == AF_UNSPEC and gone == index:
                        return True
    except OSError:
        # ETIMEDOUT, or ENOBUFS: so much is going on that announcements were lost.
        pass
    return False
