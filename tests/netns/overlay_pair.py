"""Two hosts with a VXLAN device between them, made by hand as flanneld makes it, and their subnet files."""

from pathlib import Path
from typing import Any

from shibafu.lean.ip import parse_cidr
from shibafu.overlay.subnet_file import HostSubnet, write_subnet_file
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.suite import Suite

NETWORKS = ["10.42.0.0/16", "fd42::/48"]
MTU = 1450
_DEVICE = "flannel.1"


class PairedHost(Machine):
    """A host of an overlay; its plugin is shibafu-overlay.

    Args:
        suite: the plugins.
        host: its namespace.
        directory: for what the plugins store, and the subnet file.
        number: 1 or 2.
    """

    def __init__(self, suite: Suite, host: Namespace, directory: Path, number: int) -> None:
        directory.mkdir()
        super().__init__(suite, host, directory)
        self.number = number
        self.plugin = suite.directory / "shibafu-overlay"
        self.address = f"192.168.77.{number}"
        self.subnets = {4: f"10.42.{number}", 6: f"fd42:0:0:{number}::"}
        self.mac = f"02:00:00:00:77:{number:02}"
        self.subnet_file = directory / "run" / "subnet.env"
        self.sent_dir = directory / "flannel"
        self.write_subnet_file()
        # The kernel asks for no neighbour before it is sure of its own address, which takes a second.
        host.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")

    def write_subnet_file(self, mtu: int = MTU, ip_masq: bool = False, number: int = 0) -> None:
        """Write the file, as an agent that masquerades or does not, with the subnet of another number."""
        number = number or self.number
        networks = [parse_cidr(network) for network in NETWORKS]
        subnets = [parse_cidr(f"10.42.{number}.1/24"), parse_cidr(f"fd42:0:0:{number}::1/64")]
        write_subnet_file(str(self.subnet_file), HostSubnet(networks, subnets, mtu, ip_masq))

    def overlay(self, delegate: Config | None = None, **keys: Any) -> Config:
        """Return the configuration of an overlay network, changed by `keys`."""
        config: Config = {
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "shibafu-overlay",
            "subnetFile": str(self.subnet_file),
            "dataDir": str(self.sent_dir),
            "delegate": {"bridge": "br0", "isDefaultGateway": True} | (delegate or {}),
            "ipam": {"dataDir": str(self.data_dir)},
        }
        return {key: value for key, value in (config | keys).items() if value is not None}

    def sent(self) -> list[str]:
        """Return the names of the files of what was sent."""
        return sorted(path.name for path in self.sent_dir.glob("*"))

    def address_of(self, config: Config, version: int, container: str = "c1", ifname: str = "eth0") -> str:
        """Return the address that ADD gave to a container."""
        ips: list[str] = [
            ip["address"].partition("/")[0] for ip in self.result(config, container, ifname)["ips"]
        ]
        return next(ip for ip in ips if (":" in ip) == (version == 6))

    def make_device(self, peer: "PairedHost") -> None:
        """Make the VXLAN device, and the entries for the other host."""
        options = f"id 1 local {self.address} dev wire dstport 8472 nolearning".split()
        self.host.run("ip", "link", "add", _DEVICE, "address", self.mac, "type", "vxlan", *options)
        subnets, theirs = self.subnets, peer.subnets
        for command in (
            f"link set {_DEVICE} up mtu {MTU}",
            f"addr add {subnets[4]}.0/32 dev {_DEVICE}",
            f"addr add {subnets[6]}/128 dev {_DEVICE} nodad",
            f"neigh add {theirs[4]}.0 lladdr {peer.mac} dev {_DEVICE} nud permanent",
            f"neigh add {theirs[6]} lladdr {peer.mac} dev {_DEVICE} nud permanent",
            f"route add {theirs[4]}.0/24 via {theirs[4]}.0 dev {_DEVICE} onlink",
            f"route add {theirs[6]}/64 via {theirs[6]} dev {_DEVICE} onlink",
        ):
            self.host.run("ip", *command.split())
        self.host.run("bridge", "fdb", "add", peer.mac, "dev", _DEVICE, "dst", peer.address)


def connect_hosts(one: PairedHost, two: PairedHost) -> None:
    """Connect two hosts by a cable, and by VXLAN over it."""
    one.host.run("ip", "link", "add", "wire", "type", "veth", "peer", "wire", "netns", two.host.name)
    for host in (one, two):
        host.host.run("ip", "addr", "add", f"{host.address}/24", "dev", "wire")
        host.host.run("ip", "link", "set", "wire", "up")
    one.make_device(two)
    two.make_device(one)
