"""What a bridge forwards between its ports, seen by netfilter: br_netfilter, for one bridge at a time.

The sysctls of net/bridge are for all bridges of a namespace. They start at 1 when the module is loaded, in
every namespace; a bridge's own switches need them at 0 to make a difference, and have no effect without the
module.
"""

import os

from shibafu.lean.subprocess import Child, find_program
from shibafu.lean.sysctl import write_sysctl
from shibafu.netlink.link import link_by_name
from shibafu.netlink.link_requests import link_set_bridge
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SYSCTLS = "/proc/sys/net/bridge"
_SWITCHES = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_bridged(bridges: "Iterable[str]", sock: NetlinkSocket) -> list[str]:
    """Have netfilter see what bridges forward, with br_netfilter; those that are missing are passed over.

    Returns:
        The bridges whose switches were changed.

    Raises:
        NetlinkError: the kernel refuses.
    """
    changed = []
    for name in bridges:
        link = link_by_name(sock, name) if name else None
        if link is not None and link.kind == "bridge" and not link.nf_call:
            sock.request(link_set_bridge(name, nf_call=True))
            changed.append(name)
    return changed


def leave_bridged(bridges: "Iterable[str]") -> None:
    """Have netfilter no longer see what bridges forward, unless sysctls of the host say so.

    Raises:
        NetlinkError: the kernel refuses.
    """
    with NetlinkSocket() as sock:
        for name in bridges:
            link = link_by_name(sock, name)
            if link is not None and link.kind == "bridge":
                sock.request(link_set_bridge(name, nf_call=False))


def has_br_netfilter() -> bool:
    """Return whether the kernel has br_netfilter, as a part of it or loaded."""
    return os.path.exists(f"{_SYSCTLS}/{_SWITCHES[0]}")


def load_br_netfilter() -> bool:
    """Load br_netfilter if it is missing, and have it leave other bridges alone.

    Returns:
        Whether it is there.
    """
    if has_br_netfilter():
        return True
    modprobe = find_program("modprobe", _PATH)
    if modprobe is not None:
        Child(modprobe, [modprobe, "br_netfilter"], {"PATH": _PATH}, b"", keep_stderr=True).wait()
    if not has_br_netfilter():
        return False
    for switch in _SWITCHES:
        write_sysctl(f"{_SYSCTLS}/{switch}", "0")
    return True
