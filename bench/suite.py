"""The plugins that are compared, the networks that they make, and how they are called."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json import dumps, loads
from pathlib import Path

from bench.engine import Engine
from bench.process import Sample, Started, run
from shibafu.engine.programs import REPLACED

# Addresses of the bench's own namespaces; nothing outside of them sees one.
SUBNET = "10.64.0.0/16"
SUBNET6 = "fd64::/64"
# What iptables and nft are found by.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, eq=False)
class Suite:
    """Plugins of one make.

    Args:
        name: how the table calls it.
        programs: the executables, by the reference's names for them.
        cni_path: where a bridge plugin finds the IPAM plugin.
        engine: the engine that its executables hand their calls to, if any.
        firewall: the plugin that has packets of its containers forwarded, if its bridge plugin does not.
        is_slow: whether what others do in milliseconds takes its calls seconds, where there is much to do.
        made: how many calls there have been, by executable and verb.
    """

    name: str
    programs: Mapping[str, str]
    cni_path: str
    engine: Engine | None = None
    firewall: str = ""
    is_slow: bool = False
    made: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def home(self) -> Path:
        """The folder of its executables."""
        return Path(self.programs["bridge"]).parent

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

    def start(self, plugin: str, env: Mapping[str, str], config: bytes) -> Started:
        """Start a call."""
        self.made[plugin, env["CNI_COMMAND"]] += 1
        return Started([self.programs[plugin]], env, config)

    def call(self, plugin: str, command: str, config: bytes, container: str, netns: str) -> Sample:
        """Do a call.

        Raises:
            Failed: it answered with an error.
        """
        return self.start(plugin, self.calc_environment(command, container, netns), config).wait()


class Watch:
    """What the engines of some suites serve from now on."""

    def __init__(self, suites: Iterable[Suite]) -> None:
        self._before = [
            (suite, engine, Counter(suite.made), engine.count_served())
            for suite in suites
            if (engine := suite.engine)
        ]

    def calc_share(self, verb: str, *plugins: str) -> float | None:
        """Return the share of the calls of these plugins since then that their engine has served.

        The smallest one, of several plugins, and where several suites have an engine; None where none has.
        """
        shares = []
        for suite, engine, made, served in self._before:
            now = engine.count_served()
            for plugin in plugins:
                key = os.path.basename(suite.programs[plugin]), verb
                calls = suite.made[plugin, verb] - made[plugin, verb]
                shares.append((now[key] - served[key]) / calls)
        return min(shares, default=None)


def make_ours(name: str, built: Path, directory: Path, engine: Engine | None = None) -> Suite:
    """Return what packaging/build.sh has built.

    Args:
        name: how the table calls it.
        built: the folder of the executables.
        directory: is made, and gets a link by which `host-local` is ours.
        engine: the folder's engine, if one is running.
    """
    directory.mkdir()
    os.symlink(built / "shibafu-ipam", directory / "host-local")
    programs = {name: str(built / program) for program, name in REPLACED.items()}
    return Suite(name, programs, str(directory), engine)


def make_reference() -> Suite:
    """Return Debian's build of containernetworking/plugins."""
    directory = "/usr/lib/cni"
    programs = {name: f"{directory}/{name}" for name in REPLACED.values()}
    return Suite("reference", programs, directory, firewall=f"{directory}/firewall", is_slow=True)


def copy_build(root: Path, built: Path, copy: Path) -> None:
    """Copy the folder of a build to where no engine serves it: all calls of its executables go cold.

    Args:
        root: of the sources.
        built: the folder.
        copy: is made.
    """
    shutil.copytree(built, copy, symlinks=True)
    script = f'. "{root}/packaging/install/versions.sh" && write_programs "$1" "$1"'
    run(["/bin/sh", "-euc", script, "sh", str(copy)])


@dataclass(frozen=True)
class Network:
    """A network's configuration, the same for every suite.

    Args:
        data_dir: where the leases are; one for each suite.
        nat: whether containers are masqueraded.
        dual_stack: whether they have IPv6 addresses as well.
        spoof_check: whether what they send has to have their MAC address.
        nftables: whether rules are made by nft; the reference may not support that.
    """

    data_dir: Path
    nat: bool = False
    dual_stack: bool = False
    spoof_check: bool = False
    nftables: bool = False

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
        if self.spoof_check:
            config["macspoofchk"] = True
        if self.nftables:
            config["ipMasqBackend"] = "nftables"
        if prev_result:
            config["prevResult"] = loads(prev_result)
        return dumps(config).encode()


def count_rules() -> int:
    """Return how many rules iptables has, in both families, in the namespace that this process is in."""
    listings = [run([f"/usr/sbin/{program}"]).output for program in ("iptables-save", "ip6tables-save")]
    return sum(line.startswith(b"-A") for listing in listings for line in listing.splitlines())
