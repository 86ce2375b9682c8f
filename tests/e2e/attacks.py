"""What a container tries against others and the host by packets, on networks of any engine."""

import json
import re
import sys
from dataclasses import dataclass
from time import sleep

from e2e.engines import Engine
from e2e.image import FETCH
from e2e.machine import HOST, OUTSIDE, Machine
from support.advertisement import PREFIX, calc_advertisement

_FOREIGN = "203.0.113.9"
_LOOPBACK_PORT = 7777
# Programs of one line: send a frame, and a datagram.
_SEND_FRAME = (
    "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
    "s.bind(('eth0', 0)); s.send(bytes.fromhex(sys.argv[1]))"
)
_SEND = (
    "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); "
    "s.bind((sys.argv[1], 0)); s.sendto(b'x', (sys.argv[2], 9))"
)


@dataclass(frozen=True)
class Inside:
    """The network of a container, with all rights over it: those that `--cap-add NET_ADMIN,NET_RAW` gives.

    Args:
        machine: where.
        pid: the container's process.
    """

    machine: Machine
    pid: int

    def run(self, *argv: str) -> str:
        """Run a program of the machine there."""
        return self.machine.try_run("nsenter", f"--target={self.pid}", "--net", "--", *argv).stdout

    def fetch(self, address: str, port: int = 80) -> str:
        """Return as what a server sees it, or nothing if there is no answer."""
        answer = self.run("timeout", "2", "sh", "-c", FETCH, "sh", address, str(port))
        return answer.rsplit(maxsplit=1)[-1].strip("[]").removeprefix("::ffff:") if answer else ""

    def serve(self) -> None:
        """Start a server."""
        self.machine.start(
            *("nsenter", f"--target={self.pid}", "--net", "--"),
            *("busybox", "httpd", "-f", "-p", "80", "-h", "/run/www"),
        )
        while not self.fetch("127.0.0.1"):
            sleep(0.02)

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        (link,) = json.loads(self.run("ip", "-json", "-4", "addr", "show", "eth0"))
        return str(link["addr_info"][0]["local"])

    @property
    def gateway(self) -> str:
        """Where its default route leads."""
        return str(json.loads(self.run("ip", "-json", "-4", "route", "show", "default"))[0]["gateway"])


def attack(machine: Machine, engine: Engine) -> dict[str, str]:
    """Return a column of the table of networks in docs/security.md: attacks -> whether they succeed."""
    machine.serve("outside")
    machine.start("busybox", "httpd", "-f", "-p", f"127.0.0.1:{_LOOPBACK_PORT}", "-h", "/run/www")
    machine.wait_for_server("127.0.0.1", port=_LOOPBACK_PORT)
    for name in ("one", "two"):
        engine.network_create(name)
    attacker, neighbour, other = (
        Inside(machine, engine.start(name, f"--network={network}", *options))
        for name, network, options in (
            ("attacker", "one", ()),
            ("neighbour", "one", ("-p", "8080:80")),
            ("other", "two", ()),
        )
    )
    other.serve()
    neighbour.serve()
    assert attacker.fetch(neighbour.address) == attacker.address
    assert attacker.fetch(OUTSIDE[0]) == HOST[0]
    cells = {
        "Reach a container of another network": _tell(attacker.fetch(other.address)),
        "Give a neighbour an address or a route by router advertisements": _advertise(attacker, neighbour),
        "Reach the host by the bridge's link-local address": _reach_link_local(machine, attacker),
        "Send beyond the bridge from a foreign address": _tell(_spoof(machine, attacker)),
        "Reach the host's 127.0.0.1 after `-p`": _reach_loopback(attacker),
    }
    engine.remove("attacker", "neighbour", "other")
    return cells


def _tell(succeeded: object) -> str:
    return "yes" if succeeded else "no"


def _advertise(attacker: Inside, neighbour: Inside) -> str:
    (link,) = json.loads(attacker.run("ip", "-json", "link", "show", "eth0"))
    frame = calc_advertisement(bytes.fromhex(link["address"].replace(":", "")))
    for _ in range(3):
        attacker.run(sys.executable, "-c", _SEND_FRAME, frame.hex())
    sleep(0.5)
    found = neighbour.run("ip", "-6", "addr") + neighbour.run("ip", "-6", "route")
    return _tell(PREFIX[:-1] in found or "proto ra" in found)


def _reach_link_local(machine: Machine, attacker: Inside) -> str:
    """As the container is: without switching IPv6 on."""
    machine.start("busybox", "httpd", "-f", "-p", str(_LOOPBACK_PORT + 1), "-h", "/run/www")
    machine.wait_for_server("127.0.0.1", port=_LOOPBACK_PORT + 1)
    links = json.loads(machine.run("ip", "-json", "addr"))
    bridge = next(
        link for link in links if attacker.gateway in [entry["local"] for entry in link["addr_info"]]
    )
    locals_ = [entry["local"] for entry in bridge["addr_info"] if entry["local"].startswith("fe80:")]
    assert attacker.fetch(attacker.gateway, _LOOPBACK_PORT + 1)  # by its other address it does
    return _tell(any(attacker.fetch(f"{address}%eth0", _LOOPBACK_PORT + 1) for address in locals_))


def _spoof(machine: Machine, attacker: Inside) -> bool:
    """With an address that it gives itself."""
    assert _send(machine, attacker, attacker.address) == HOST[0]  # as is right
    attacker.run("ip", "addr", "add", f"{_FOREIGN}/32", "dev", "eth0")
    seen = _send(machine, attacker, _FOREIGN)
    attacker.run("ip", "addr", "del", f"{_FOREIGN}/32", "dev", "eth0")
    return bool(seen)


def _send(machine: Machine, attacker: Inside, source: str) -> str:
    """Send a datagram and return whom the world outside sees it come from; empty if it does not come."""
    watcher = machine.start(
        *("timeout", "3", "tcpdump", "-lnni", "uplink", "-c", "1", "udp and dst port 9"), netns="outside"
    )
    sleep(1)  # it tells when it listens, but in the same pipe, which is read at its end
    attacker.run(sys.executable, "-c", _SEND, source, OUTSIDE[0])
    found = re.search(r" IP ([0-9.]+)\.\d+ >", watcher.communicate()[0])
    return found[1] if found else ""


def _reach_loopback(attacker: Inside) -> str:
    gateway = attacker.gateway
    attacker.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    attacker.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    attacker.run("ip", "route", "add", "127.0.0.1/32", "via", gateway, "src", attacker.address)
    return _tell(attacker.fetch("127.0.0.1", _LOOPBACK_PORT))
