"""Deleting a link without waiting for the kernel's grace period.

The kernel takes a link and its veth peer out of their namespaces and announces that within 2 ms, but answers
the request 20 ms later, when no processor can hold a reference to the link any more (RCU). Nobody needs that
wait. It happens inside the system call that sends the request, hence in another process.
"""

import os
import time
from errno import ENODEV

from shibafu.netlink.codec import parse_header
from shibafu.netlink.constants import AF_UNSPEC, RTM_DELLINK, RTMGRP_LINK
from shibafu.netlink.link import IFINFOMSG, link_by_index, link_by_name, link_del
from shibafu.netlink.socket import NetlinkSocket

# Seconds to wait for the announcement. If it comes later, something is wrong with the child, or the kernel is
# so busy that 20 ms do not matter.
_PATIENCE = 0.25


def link_del_announced(link: int | str) -> bool:
    """Delete a link, and return as soon as both ends of it are gone.

    Args:
        link: Index or name.

    Returns:
        False if there was no such link.

    Raises:
        NetlinkError: the kernel's refusal.
    """
    with NetlinkSocket(RTMGRP_LINK, _PATIENCE) as sock:
        found = link_by_name(sock, link) if isinstance(link, str) else link_by_index(sock, link)
        if found is None:
            return False
        if not (_start_deletion(found.index) and _wait_announced(sock, found.index)):
            # Whatever went wrong in the child: this either succeeds or says why not. It cannot hit another
            # link, as the kernel counts indexes upwards.
            sock.request(link_del(found.index).ignoring(ENODEV))
    return True


def _start_deletion(index: int) -> bool:
    """Have a process delete the link that is no child of this one, so that nobody needs to collect it.

    Returns:
        False if there is no such process.
    """
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        try:
            if os.fork() == 0:
                # The runtime waits for the end of our output, others for our locks.
                os.closerange(0, os.sysconf("SC_OPEN_MAX"))
                with NetlinkSocket() as sock:
                    sock.request(link_del(index))
            os._exit(0)
        finally:
            # Reached only by an exception, which must not go up: that code belongs to the parent.
            os._exit(1)
    try:
        return os.waitpid(child, 0)[1] == 0
    except ChildProcessError:
        # Somebody ignores SIGCHLD; then the kernel keeps no status, which is most likely a good one.
        return True


def _wait_announced(sock: NetlinkSocket, index: int) -> bool:
    """Wait until the kernel announces that a link is gone; False if it does not."""
    deadline = time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < deadline:
            for kind, _, _, _, payload in sock.receive():
                if kind == RTM_DELLINK:
                    family, _, gone, _, _ = parse_header(IFINFOMSG, payload)
                    # AF_BRIDGE says that the link, still there, has left its bridge.
                    if family == AF_UNSPEC and gone == index:
                        return True
    except OSError:
        # ETIMEDOUT, or ENOBUFS: so much is going on that announcements were lost.
        pass
    return False
