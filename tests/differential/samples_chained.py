"""What many lines of the chained plugins' tables are made of: a container on a bridge, and its result."""

from collections.abc import Mapping

from differential.case import Call, Case, Shell
from differential.samples import host, inside

BRIDGE, PORT = "br0", "veth0"
# Once: what is refused leaves nothing to see, which the end shows.
ONCE = (Call("ADD"),)
# What a runtime does, without a second DEL, which one case of each plugin has.
SHORT_LIFE = (Call("ADD"), Call("CHECK"), Call("DEL"))
# Known neighbours: on a busy machine it may take long until one answers.
ATTACHED = (
    host(
        f"""ip -batch - <<.
link add {BRIDGE} address 02:00:00:00:0b:01 type bridge
address add 10.1.0.1/24 dev {BRIDGE}
address add fd00:1::1/64 dev {BRIDGE} nodad
link set {BRIDGE} up
link add {PORT} address 02:00:00:00:0b:02 type veth peer eth0 address 02:00:00:00:0b:03 netns c1
link set {PORT} master {BRIDGE} up
neigh add 10.1.0.2 lladdr 02:00:00:00:0b:03 dev {BRIDGE}
neigh add fd00:1::2 lladdr 02:00:00:00:0b:03 dev {BRIDGE}
.
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"""
    ),
    inside(
        """ip -batch - <<.
link set lo up
address add 10.1.0.2/24 dev eth0
address add fd00:1::2/64 dev eth0 nodad
link set eth0 up
neigh add 10.1.0.1 lladdr 02:00:00:00:0b:01 dev eth0
neigh add fd00:1::1 lladdr 02:00:00:00:0b:01 dev eth0
route add default via 10.1.0.1
route add default via fd00:1::1
.
until ip -o link show eth0 | grep -q 'state UP'; do :; done"""
    ),
    host(f"until bridge link show dev {PORT} | grep -q 'state forwarding'; do :; done"),
)


def result(version: str = "1.0.0", **changes: object) -> dict[str, object]:
    """Return what the plugin before has answered: a bridge, its port and the container's interface.

    Args:
        version: of the specification, from 0.3.0.
        changes: other keys.
    """
    is_old = version < "1.0.0"
    ips = [
        {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 2}
        | ({"version": "4"} if is_old else {}),
        {"address": "fd00:1::2/64", "gateway": "fd00:1::1", "interface": 2}
        | ({"version": "6"} if is_old else {}),
    ]
    interfaces = [
        {"name": BRIDGE, "mac": "02:00:00:00:0b:01"},
        {"name": PORT, "mac": "02:00:00:00:0b:02"},
        {"name": "eth0", "mac": "02:00:00:00:0b:03", "sandbox": "/run/netns/c1"},
    ]
    return {"cniVersion": version, "interfaces": interfaces, "ips": ips} | changes


def chained(
    plugin: str,
    name: str,
    config: Mapping[str, object],
    calls: tuple[Call, ...] = SHORT_LIFE,
    setup: tuple[Shell, ...] = (),
    **options: object,
) -> Case:
    """Return a case of a plugin that comes after another one.

    Args:
        plugin: its name, which the case's begins with.
        name: the rest of the case's name.
        config: the configuration; `prevResult` is there if it says nothing else.
        calls: in their order.
        setup: what happens before the first call, after the container was attached.
        options: of `Case`.
    """
    stated = {"type": plugin, "prevResult": result()} | dict(config)
    return Case(f"{plugin}-{name}", stated, plugin, calls, setup=(*ATTACHED, *setup), **options)  # type: ignore[arg-type]


def refused(plugin: str, name: str, config: Mapping[str, object], **options: object) -> Case:
    """Return a case of a configuration that ADD refuses, or should."""
    return chained(plugin, name, config, ONCE, **options)  # type: ignore[arg-type]


def of_version(plugin: str, version: str, config: Mapping[str, object]) -> Case:
    """Return a case of a version of the specification, with a result of that version."""
    calls = SHORT_LIFE if version >= "0.4.0" else (Call("ADD"), Call("DEL"))
    stated = {"cniVersion": version, "prevResult": result(version)} | dict(config)
    return chained(plugin, f"version-{version}", stated, calls)


def odd_results(plugin: str, config: Mapping[str, object]) -> tuple[Case, ...]:
    """Return cases in which the plugin before has answered what it should not."""
    odd: dict[str, object] = {
        "of-another-version": result("0.4.0"),
        "text": "none",
        "empty": {},
        "bad-address": result(ips=[{"address": "10.1.0.300/24", "interface": 2}]),
        "bad-index": result(ips=[{"address": "10.1.0.2/24", "interface": 7}]),
    }
    return tuple(
        chained(plugin, f"result-{name}", dict(config) | {"prevResult": value}, ONCE)
        for name, value in odd.items()
    )


def damaged(*lines: Shell) -> tuple[Call, ...]:
    """Return a life in which something is damaged before a second CHECK."""
    return (Call("ADD"), Call("CHECK"), Call("CHECK", before=lines), Call("DEL"))
