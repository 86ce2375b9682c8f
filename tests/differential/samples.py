"""What many lines of the table are made of."""

from differential.case import Call, Shell


def ipam(*ranges: object, **keys: object) -> dict[str, object]:
    """Return an `ipam` section; each range is the only one of its set, or a list is a whole set."""
    sets = [item if isinstance(item, list) else [item] for item in ranges]
    return {"type": "host-local"} | ({"ranges": sets} if sets else {}) | keys


R4: dict[str, object] = {"subnet": "10.1.0.0/24"}
R6: dict[str, object] = {"subnet": "fd00:1::/64"}
V4 = ipam(R4)
V6 = ipam(R6)
DUAL = ipam(R4, R6)
# A set with the gateway and a single address to give.
ONE = ipam({"subnet": "10.1.0.0/30"})
DEFAULT_ROUTE = {"dst": "0.0.0.0/0"}
DEFAULT_ROUTE6 = {"dst": "::/0"}


def host(line: str) -> Shell:
    """Return a command that is run on the host."""
    return Shell("host", line)


def inside(line: str, container: str = "c1") -> Shell:
    """Return a command that is run inside a container's namespace."""
    return Shell(container, line)


def port(line: str) -> Shell:
    """Return a command that is run on the host, with $PORT the name of the bridge's port."""
    find = r"PORT=$(ip -o link show master cni0 | sed 's/.*: \(veth[0-9a-f]*\)@.*/\1/')"
    return host(f"{find}; {line}")


def bridge_with(*addresses: str, name: str = "cni0") -> tuple[Shell, ...]:
    """Return what makes a bridge that is there before the first ADD."""
    lines = [f"ip link add {name} address 02:00:00:00:0b:01 type bridge", f"ip link set {name} up"]
    lines += [
        f"ip addr add {address} dev {name} {'nodad' if ':' in address else ''}" for address in addresses
    ]
    return (host("; ".join(lines)),)


def lease(address: str, body: str = r"other\r\neth0", network: str = "net") -> tuple[Shell, ...]:
    """Return what makes a lease of somebody else; `body` is for printf(1)."""
    directory = f"/var/lib/cni/networks/{network}"
    return (host(f"mkdir -p {directory}; printf '{body}' > {directory}/{address}"),)


def adds(*containers: str) -> tuple[Call, ...]:
    """Return an ADD of each container, in this order."""
    return tuple(Call("ADD", container) for container in containers)


def damaged(*lines: Shell) -> tuple[Call, ...]:
    """Return a life in which something is damaged before CHECK."""
    return (Call("ADD"), Call("CHECK"), Call("CHECK", before=lines), Call("DEL"))
