"""The plugins that are compared, the networks that they make, and how they are called."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path

from bench.process import Sample, run

# Addresses of the bench's own namespaces; nothing outside of them sees one.
SUBNET = "10.64.0.0/16"
SUBNET6 = "fd64::/64"
# What iptables and nft are found by.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Suite:
    """Plugins of one make.

    Args:
        name: how the table calls it.
        programs: the executables, by the reference's names for them.
        cni_path: where a bridge plugin finds the IPAM plugin.
    """

    name: str
    programs: Mapping[str, str]
    cni_path: str

    def calc_environment(self, command: str, container: str, netns: str) -> dict[str, str]:
        """Return what a runtime sets for a call."""
        return {
            "PATH": _PATH,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.cni_path,
        }

    def call(self, plugin: str, command: str, config: bytes, container: str, netns: str) -> Sample:
        """Do a call.

        Raises:
            Failed: it answered with an error.
        """
        return run([self.programs[plugin]], self.calc_environment(command, container, netns), config)


def make_ours(name: str, built: Path, directory: Path) -> Suite:
    """Return what packaging/build.sh has built.

    Args:
        name: how the table calls it.
        built: the folder of the executables.
        directory: is made, and gets a link by which `host-local` is ours.
    """
    directory.mkdir()
    os.symlink(built / "shibafu-ipam", directory / "host-local")
    programs = {"bridge": str(built / "shibafu-bridge"), "host-local": str(built / "shibafu-ipam")}
    return Suite(name, programs, str(directory))


def make_reference() -> Suite:
    """Return Debian's build of containernetworking/plugins."""
    directory = "/usr/lib/cni"
    programs = {name: f"{directory}/{name}" for name in ("bridge", "host-local")}
    return Suite("reference", programs, directory)


@dataclass(frozen=True)
class Network:
    """A network's configuration, the same for every suite.

    Args:
        data_dir: where the leases are; one for each suite.
        nat: whether containers are masqueraded.
        dual_stack: whether they have IPv6 addresses as well.
    """

    data_dir: Path
    nat: bool = False
    dual_stack: bool = False

    def calc_config(self, prev_result: bytes = b"") -> bytes:
        """Return what a plugin reads: for CHECK and DEL with what ADD answered, as runtimes do it."""
        ranges = [[{"subnet": SUBNET}]]
        if self.dual_stack:
            ranges.append([{"subnet": SUBNET6}])
        config: dict[str, object] = {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "bridge",
            "bridge": "bench0",
            "isDefaultGateway": True,
            "ipMasq": self.nat,
            "ipam": {"type": "host-local", "dataDir": str(self.data_dir), "ranges": ranges},
        }
        if prev_result:
            config["prevResult"] = loads(prev_result)
        return dumps(config).encode()


def count_rules() -> int:
    """Return how many rules iptables has, in both families, in the namespace that this process is in."""
    listings = [run([f"/usr/sbin/{program}"]).output for program in ("iptables-save", "ip6tables-save")]
    return sum(line.startswith(b"-A") for listing in listings for line in listing.splitlines())
