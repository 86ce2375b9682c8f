"""A host with two cables, each to a router of its own, and a world behind both routers."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from netns.watched import Watched, make_command
from support.machine import Machine
from support.namespaces import Namespace
from support.stream import Stream
from support.waiting import wait_for

WORLD = {4: "203.0.113.1", 6: "2001:db8:ff::1"}
PREFIXES = {4: ("192.0.2.", "198.51.100."), 6: ("2001:db8:1::", "2001:db8:2::")}
GATEWAYS = {version: tuple(prefix + "1" for prefix in pair) for version, pair in PREFIXES.items()}
ADDRESSES = {version: tuple(prefix + "9" for prefix in pair) for version, pair in PREFIXES.items()}
LINKS = ("eth0", "eth1")
_LENGTHS = {4: 24, 6: 64}


class RouterLab:
    """The world beyond a machine, with a container on it whose packets are masqueraded.

    Args:
        machine: the machine.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.host = machine.host
        self.world = Namespace("world")
        self.routers = [Namespace(f"router{number}") for number in (1, 2)]
        for version, address in WORLD.items():
            self.world.run("ip", "addr", "add", f"{address}/{32 if version == 4 else 128}", "dev", "lo")
        for number, (router, link) in enumerate(zip(self.routers, LINKS, strict=True)):
            self._connect(number, router, link)
        wait_for(lambda: self.host.run("ip", "-br", "link").count(" UP ") == len(LINKS))
        self.config = machine.config("10.10.0.0/24", "fd10::/64")
        self.shibafu = make_command(machine.suite, machine, self.config)
        self.file = Path(self.shibafu.env["SHIBAFU_ROUTERS"])

    def _connect(self, number: int, router: Namespace, link: str) -> None:
        """Put a router between the host and the world."""
        outer = f"world{number}"
        # A router asks for a neighbour from its link-local address. Until the kernel has found that nobody
        # else has it, nothing is asked, and what waits for the answer comes a second late.
        for namespace in (router, self.world):
            namespace.run("sysctl", "-qw", "net/ipv6/conf/default/accept_dad=0")
        self.host.run("ip", "link", "add", link, "type", "veth", "peer", "inner", "netns", router.name)
        self.world.run("ip", "link", "add", outer, "type", "veth", "peer", "outer", "netns", router.name)
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/all/keep_addr_on_down"):
            router.run("sysctl", "-qw", f"net/{path}=1")
        for namespace, ends in ((self.host, [link]), (router, ["inner", "outer"]), (self.world, [outer])):
            for end in ends:
                namespace.run("ip", "link", "set", end, "up")
        for version, length in _LENGTHS.items():
            far = f"10.99.{number}." if version == 4 else f"2001:db8:99:{number}::"
            near = PREFIXES[version][number]
            for namespace, address, end in (
                (self.host, near + "9", link),
                (router, near + "1", "inner"),
                (router, far + "1", "outer"),
                (self.world, far + "2", outer),
            ):
                nodad = ["nodad"] if version == 6 else []
                namespace.run("ip", "addr", "add", f"{address}/{length}", "dev", end, *nodad)
            subnet = near + ("0" if version == 4 else "") + f"/{length}"
            self.world.run("ip", "route", "add", subnet, "via", far + "1")
            router.run("ip", f"-{version}", "route", "add", "default", "via", far + "2")

    def __enter__(self) -> "RouterLab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for namespace in (self.world, *self.routers):
            namespace.delete()
        record = self.find_record()
        record.unlink(missing_ok=True)

    def find_record(self) -> Path:
        """Return the file that remembers what the switches were."""
        return self.machine.records.parent / "watch" / f"{self.machine.records.name}.routers"

    def configure(self, *versions: int, **first: Any) -> None:
        """Write the configuration: both routers of each family; `first` changes keys of the first one."""
        routers = [
            {"gateway": gateway, "dev": link, "metric": metric}
            for version in versions or (4, 6)
            for gateway, link, metric in zip(GATEWAYS[version], LINKS, (100, 200), strict=True)
        ]
        routers[0] |= first
        self.write(*routers)

    def write(self, *routers: dict[str, Any]) -> None:
        """Write a configuration."""
        self.file.write_text(json.dumps({"routers": routers}))

    def share_link(self) -> tuple[str, str]:
        """Put both routers on one link of the host, `lan`; return their addresses."""
        gateways = GATEWAYS[4][0], PREFIXES[4][0] + "2"
        self.host.run("ip", "link", "add", "lan", "up", "type", "bridge")
        for link in LINKS:
            self.host.run("ip", "addr", "flush", "dev", link)
            self.host.run("ip", "link", "set", link, "master", "lan")
        self.host.run("ip", "addr", "add", f"{ADDRESSES[4][0]}/24", "dev", "lan")
        self.routers[1].run("ip", "addr", "add", f"{gateways[1]}/24", "dev", "inner")
        return gateways

    def list_defaults(self, version: int = 4) -> list[str]:
        """Return the default routes as iproute2 shows them, the preferred one first."""
        lines = self.host.run("ip", f"-{version}", "route", "show", "default").splitlines()
        return [" ".join(line.split()) for line in lines]

    def find_first(self, version: int) -> str:
        """Return the link that packets to the world leave by."""
        return self.host.run("ip", "route", "get", WORLD[version]).split(" dev ")[1].split()[0]

    def cut(self, number: int) -> None:
        """Have the carrier of a cable go."""
        self.routers[number].run("ip", "link", "set", "inner", "down")

    def mend(self, number: int) -> None:
        """Have it come back."""
        self.routers[number].run("ip", "link", "set", "inner", "up")

    def silence(self, number: int) -> None:
        """Have a router hear nothing any more, while the cable to it keeps its carrier."""
        self.routers[number].run(
            "nft",
            "add table netdev dead; add chain netdev dead c "
            "{ type filter hook ingress device inner priority 0; policy drop; }",
        )

    def revive(self, number: int) -> None:
        """Undo it."""
        self.routers[number].run("nft", "delete table netdev dead")

    def stream(self, version: int = 4) -> Stream:
        """Return datagrams from the container to the world."""
        return Stream(self.world, WORLD[version], self.machine.container())

    def watch(self, *options: str) -> Watched:
        """Return the watcher at work."""
        return Watched(self.shibafu, *options)

    def wait_until_routed(self, watched: Watched) -> None:
        """Wait until the watcher sends packets to one router of each family; the others are backups."""
        wait_for(lambda: set(self.read_states(watched).values()) == {"active", "backup"})

    def read_states(self, watched: Watched) -> dict[str, str]:
        """Return what the watcher says of each router."""
        return {one["gateway"]: one["state"] for one in watched.read_status()["routers"]}
