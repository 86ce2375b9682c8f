"""Making, moving and removing single links: idempotent, and with refusals that say how links work.

Each function returns what it did as the line of ip(8) that does the same; empty when nothing was to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from shibafu.bridge.config import is_valid_link_name
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.kernel import Interface, Kernel, LinkState, explain, open_kernel
from shibafu.networks.named_netns import inside, is_in_netns


def create_bridge(name: str, mtu: int = 0) -> list[str]:
    """Make sure that there is a bridge, and that it is up.

    Raises:
        CommandError: another kind of link has the name.
    """
    require_link_name(name)
    done = []
    with open_kernel() as kernel:
        link = kernel.links().get(name)
        if link is None:
            size = {"mtu": mtu} if mtu else {}
            _request_link("add", f"cannot create bridge {name}", ifname=name, kind="bridge", **size)
            done.append(f"ip link add name {name}{f' mtu {mtu}' if mtu else ''} type bridge")
            link = kernel.links()[name]
        elif link.kind != "bridge":
            raise CommandError(
                f"{name} already exists and is {describe_kind(link)}, not a bridge",
                f"choose another name, or remove that link: shibafu link rm {name}",
            )
        done += _ensure_up(link)
    return done


def create_veth(host: str, container: str, netns: str = "", bridge: str = "") -> list[str]:
    """Make sure that there is a veth pair: a cable with two ends, each a link.

    Args:
        host: the end that stays here.
        container: the other end.
        netns: the path of the namespace that the other end is in; empty for this one.
        bridge: the bridge that the end here is a port of; empty for none.

    Raises:
        CommandError: the names are taken by other links.
    """
    require_link_name(host)
    require_link_name(container)
    if host == container and (not netns or is_in_netns(netns)):
        raise UsageError(
            "the two ends of a pair cannot have the same name in the same namespace",
            "choose two names, or give the other end a namespace of its own: --netns",
        )
    done = []
    with open_kernel() as kernel:
        links = kernel.links()
        link = links.get(host)
        if link is None:
            done += _add_veth(host, container, netns)
            link = kernel.links()[host]
        elif not _is_pair(kernel, link, container, netns):
            raise CommandError(
                f"{host} already exists and is {describe_kind(link)} whose other end is not {container}",
                f"choose other names, or remove that link and its other end: shibafu link rm {host}",
            )
        done += _ensure_up(link)
        if bridge:
            done += _ensure_port(kernel, link, bridge)
    return done


def _add_veth(host: str, container: str, netns: str) -> list[str]:
    what = f"cannot create the veth pair {host} and {container}"
    if not netns or is_in_netns(netns):
        _request_link("add", what, ifname=host, kind="veth", peer={"ifname": container})
        return [f"ip link add name {host} type veth peer name {container}"]
    with inside(netns), open_kernel() as other:
        if container in other.links():
            raise CommandError(f"{container} already exists in {netns}", "choose another name for that end")
    with open(netns, "rb") as namespace:
        descriptor = namespace.fileno()
        peer = {"ifname": container, "net_ns_fd": descriptor}
        _request_link("add", what, ifname=host, kind="veth", peer=peer)
    return [f"ip link add name {host} type veth peer name {container} netns {netns}"]


def _is_pair(kernel: Kernel, link: LinkState, container: str, netns: str) -> bool:
    if link.kind != "veth":
        return False
    if not netns or is_in_netns(netns):
        other = kernel.links().get(container)
    else:
        with inside(netns), open_kernel() as inner:
            other = inner.links().get(container)
    return other is not None and other.kind == "veth" and (other.index, other.peer) == (link.peer, link.index)


def move(name: str, netns: str) -> list[str]:
    """Make sure that a link is in the namespace at `netns`.

    Raises:
        CommandError: it is in neither, or cannot leave this one.
    """
    if is_in_netns(netns):
        raise UsageError(f"{netns} is the namespace this command runs in", "name the namespace to move to")
    with inside(netns), open_kernel() as kernel:
        there = name in kernel.links()
    with open_kernel() as kernel, open(netns, "rb") as namespace:
        link = kernel.links().get(name)
        if link is None and there:
            return []
        if link is None:
            raise CommandError(f"there is no link {name}, neither here nor in {netns}", "see `ip link`")
        if there:
            raise CommandError(
                f"{netns} already has a link {name}",
                "names are unique within a namespace: rename or remove one",
            )
        if link.kind == "bridge" or name == "lo":
            raise CommandError(
                f"{name} is {describe_kind(link)}, which cannot leave the namespace it was created in",
                "create another one there; to connect namespaces, use a veth pair: shibafu link create-veth",
            )
        what = f"cannot move {name} into {netns}"
        _request_link("set", what, index=link.index, net_ns_fd=namespace.fileno())
    return [f"ip link set dev {name} netns {netns}"]


def add_addresses(name: str, addresses: list[Interface]) -> list[str]:
    """Make sure that a link has addresses, and that it is up.

    Raises:
        CommandError: there is no such link.
    """
    done = []
    with open_kernel() as kernel:
        link = require_link(kernel, name)
        present = set(kernel.addresses().get(link.index, []))
        for address in addresses:
            if address not in present:
                with _refusals(f"cannot give {name} the address {address}"), IPRoute() as iproute:
                    iproute.addr(
                        "add",
                        index=link.index,
                        address=str(address.ip),
                        prefixlen=address.network.prefixlen,
                    )
                done.append(f"ip addr add {address} dev {name}")
        done += _ensure_up(link)
    return done


def parse_interface(text: str) -> Interface:
    """Parse an address with its subnet's length.

    Raises:
        ValueError: it is none, or the length is missing.
    """
    if "/" not in text:
        raise ValueError(
            f"{text} lacks a prefix length, which says which neighbours the link can reach: "
            f"write {text}/{'64' if ':' in text else '24'} for example"
        )
    return ip_interface(text)


def remove(name: str) -> list[str]:
    """Make sure that there is no link of that name.

    Raises:
        CommandError: it is a piece of hardware.
    """
    with open_kernel() as kernel:
        link = kernel.links().get(name)
        if link is None:
            return []
        if not link.kind:
            raise CommandError(
                f"{name} is {describe_kind(link)}, which cannot be removed",
                f"to disable it: ip link set dev {name} down",
            )
        kernel.remove_link(link)
    return [f"ip link del dev {name}"]


def require_link(kernel: Kernel, name: str) -> LinkState:
    """Return a link of the current namespace.

    Raises:
        CommandError: there is none of that name.
    """
    links = kernel.links()
    if name not in links:
        raise CommandError(
            f"there is no link {name} in this namespace", f"existing links: {', '.join(sorted(links))}"
        )
    return links[name]


def require_link_name(name: str) -> None:
    """Refuse what the kernel or a firewall's rule would not take as a link's name.

    Raises:
        UsageError: why.
    """
    if len(name) > 15:
        raise UsageError(
            f"{name} is too long for a link name", "a link's name has at most 15 characters (IFNAMSIZ)"
        )
    if not is_valid_link_name(name):
        raise UsageError(
            f'"{name}" is not a valid name for a link',
            "use letters, digits and any of _ . - +; all and default are reserved",
        )


def describe_kind(link: LinkState) -> str:
    """Return what a link is, with its article."""
    if link.name == "lo":
        return "the loopback link"
    return f"a {link.kind}" if link.kind else "a network card"


def _ensure_up(link: LinkState) -> list[str]:
    if link.is_up:
        return []
    _request_link("set", f"cannot set {link.name} up", index=link.index, state="up")
    return [f"ip link set dev {link.name} up"]


def _ensure_port(kernel: Kernel, link: LinkState, bridge: str) -> list[str]:
    master = require_link(kernel, bridge)
    if master.kind != "bridge":
        raise CommandError(f"{bridge} is {describe_kind(master)}, not a bridge", "only a bridge has ports")
    if link.master == master.index:
        return []
    what = f"cannot make {link.name} a port of {bridge}"
    _request_link("set", what, index=link.index, master=master.index)
    return [f"ip link set dev {link.name} master {bridge}"]


def _request_link(command: str, what: str, **attributes: object) -> None:
    """Change a link of the current namespace; attributes as in `IPRoute.link`."""
    with _refusals(what), IPRoute() as iproute:
        iproute.link(command, **attributes)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Say of a refusal of the kernel's what was asked for, as "cannot create bridge br0"."""
    try:
        yield
    except NetlinkError as error:
        raise explain(error.code, what) from None
