"""A host with two cables, each to a switch of its own, and a gateway behind both switches."""

import time
from types import TracebackType
from typing import Any

from netns.watched import Watched, make_command
from support.machine import Machine
from support.namespaces import Namespace
from support.stream import Stream
from support.waiting import wait_for

GATEWAY, BRIDGE = "10.7.0.1", "br0"
CABLES = ("eth1", "eth2")


class UplinkLab:
    """The world beyond a machine: switches `sw1` and `sw2`, which are connected, and a gateway on `sw1`.

    A cable is eth1 or eth2 of the host, and has the same name at the other end. The gateway leaves its cable
    to `sw1` only logically: it is on a third switch, so that either uplink can fail.

    Args:
        machine: the machine.
    """

    def __init__(self, machine: Machine, **keys: Any) -> None:
        self.machine = machine
        self.host = machine.host
        self.world = Namespace("world")
        self.gateway = Namespace("gateway")
        world, gateway = self.world.name, self.gateway.name
        self.host.run("ip", "link", "add", "eth1", "type", "veth", "peer", "eth1", "netns", world)
        self.host.run("ip", "link", "add", "eth2", "type", "veth", "peer", "eth2", "netns", world)
        for name in ("sw1", "sw2", "core"):
            self.world.run("ip", "link", "add", name, "up", "type", "bridge")
        for name, switch in (("eth1", "sw1"), ("eth2", "sw2")):
            self.world.run("ip", "link", "set", name, "master", switch, "up")
            self.world.run("ip", "link", "add", f"to-{switch}", "type", "veth", "peer", f"of-{switch}")
            self.world.run("ip", "link", "set", f"to-{switch}", "master", "core", "up")
            self.world.run("ip", "link", "set", f"of-{switch}", "master", switch, "up")
        self.world.run("ip", "link", "add", "gateway", "type", "veth", "peer", "eth0", "netns", gateway)
        self.world.run("ip", "link", "set", "gateway", "master", "core", "up")
        self.gateway.run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "eth0")
        self.gateway.run("ip", "link", "set", "eth0", "up")
        self.config = machine.config(
            isDefaultGateway=None,
            ipMasq=None,
            uplinks=list(CABLES),
            ipam={
                "type": "host-local",
                "ranges": [[{"subnet": "10.7.0.0/24", "rangeStart": "10.7.0.10", "gateway": GATEWAY}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": str(machine.data_dir),
            },
            **keys,
        )
        self.shibafu = make_command(machine.suite, machine, self.config)

    def __enter__(self) -> "UplinkLab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.delete()
        self.gateway.delete()

    def list_ports(self) -> list[str]:
        """Return the uplinks that are ports of the bridge."""
        shown = self.host.run("ip", "-br", "link", "show", "master", BRIDGE).split()
        return [name for name in CABLES if any(word.partition("@")[0] == name for word in shown)]

    def cut(self, cable: str) -> None:
        """Have a cable's carrier go."""
        self.world.run("ip", "link", "set", cable, "down")

    def mend(self, cable: str) -> None:
        """Have a cable's carrier come back."""
        self.world.run("ip", "link", "set", cable, "up")

    def cut_silently(self, cable: str) -> None:
        """Have a switch lose its way to the gateway: the cable keeps its carrier."""
        self.world.run("ip", "link", "set", "to-sw" + cable[-1], "nomaster")

    def mend_silently(self, cable: str) -> None:
        """Undo it."""
        self.world.run("ip", "link", "set", "to-sw" + cable[-1], "master", "core")

    def stream(self) -> Stream:
        """Return datagrams from the container to the gateway."""
        return Stream(self.gateway, GATEWAY, self.machine.container())

    def watch(self) -> Watched:
        """Return the watcher at work."""
        return Watched(self.shibafu)

    def read_states(self, watched: Watched) -> dict[str, str]:
        """Return what the watcher says of each uplink."""
        (bridge,) = watched.read_status()["uplinks"]
        return {link["name"]: link["state"] for link in bridge["links"]}

    def wait_until_probed(self, watched: Watched) -> None:
        """Wait until the watcher knows the uplinks, and has asked for the gateway some times."""
        wait_for(lambda: "active" in self.read_states(watched).values())
        time.sleep(0.5)
