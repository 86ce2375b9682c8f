"""The specs of the reference's plugins, which are Go: compiled, and run against it and against ours.

A spec calls the functions of its plugin. In the copy for ours these are replaced by `call.go`, which runs our
executable. What is given a name of the reference's (a chain, a link) is given ours; nothing else is changed.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from long.reference_source import fetch_source
from shibafu.cni.names import calc_ifb
from shibafu.firewall.needs import calc_forward_chain
from shibafu.portmap.chains import calc_dnat_chain
from support.machine import link_iptables
from support.namespaces import Namespace

ROOT = Path(__file__).parents[2]
_MODULE = "src/github.com/containernetworking/plugins"
_CALL = Path(__file__).with_name("call.go")
_REFERENCE = "/usr/lib/cni"
# Where each plugin is in the source.
_FOLDERS = {
    "bandwidth": "plugins/meta/bandwidth",
    "firewall": "plugins/meta/firewall",
    "loopback": "plugins/main/loopback",
    "portmap": "plugins/meta/portmap",
    "tuning": "plugins/meta/tuning",
}
# Of some kernels dummy links are no part. Nobody else is to find what a spec keeps in /tmp.
_ADAPTED = (
    ("meta/tuning/tuning_test.go", "netlink.Dummy{", "netlink.Bridge{"),
    ("meta/firewall/firewall_iptables_test.go", "netlink.Dummy{", "netlink.Ifb{"),
    ("meta/tuning/tuning_test.go", '"/tmp/tuning-test', '"/run/cni/tuning-test'),
)
_FORWARD_CHAIN = f"""own, err := ipt.List("filter", "{calc_forward_chain("test")}")
		Expect(err).NotTo(HaveOccurred())
		rules = append(rules, own...)
		// Look for the IP allow rules"""
_RENAMED = (
    (
        "meta/bandwidth/bandwidth_linux_test.go",
        '"bwpa8eda89404b7"',
        f'"{calc_ifb("cni-plugin-bandwidth-test", "dummy", "container-veth")}"',
    ),
    ("meta/firewall/firewall_iptables_test.go", "// Look for the IP allow rules", _FORWARD_CHAIN),
    ("meta/firewall/firewall_firewalld_test.go", "testConn = conn", "testConn = conn; useBus(busAddr)"),
    (
        "meta/portmap/portmap_integ_test.go",
        'genDnatChain("cni-portmap-unit-test", runtimeConfig.ContainerID).name',
        f'"{calc_dnat_chain("cni-portmap-unit-test")}"',
    ),
)
# Specs of functions of the reference that no executable has: how it reads, and what text it makes rules of.
_INNER = "chain tests|portmapping configuration|Validating input"
_FAILED = re.compile(r"\[(?:Fail|Panic!|Timeout\.\.\.)\] (.*)")
_COUNTED = re.compile(r"-- (\d+) Passed \| (\d+) Failed \| 0 Pending \| \d+ Skipped")
# What the specs and the plugins write on the host, they write for themselves.
_ALONE = """for kept in /run/netns /run/shibafu /run/cni /var/lib/cni; do
    mkdir -p $kept && mount -t tmpfs tmpfs $kept
done
ip link add uplink type veth peer outside && ip address add 192.0.2.1/24 dev uplink
ip link set uplink up && ip link set outside up && exec "$@"
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a plugin's specs.

    Args:
        passed: how many.
        failed: the names of the others.
        output: all that was printed.
    """

    passed: int
    failed: frozenset[str]
    output: str


class Runner:
    """The specs of the plugins, for the reference or for the plugins of a folder.

    Args:
        directory: for the source and what is made of it.
        ours: the plugins that are to be called in place of the reference's; None for those.
    """

    def __init__(self, directory: Path, ours: Path | None) -> None:
        self._home = directory / ("ours" if ours else "reference")
        self._ours = ours
        self._tree = self._home / _MODULE
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(fetch_source(directory / "source"), self._tree)
        directories = [str(ours)] if ours else []
        # With the variant of iptables whose messages and ways these specs expect.
        path = ":".join([*directories, _REFERENCE, link_iptables(self._home / "iptables", "legacy")])
        self._environment = os.environ | {
            "GO111MODULE": "off",
            "GOPATH": f"{self._home}:/usr/share/gocode",
            "GOCACHE": str(ROOT / "build" / "go-cache"),
            "PATH": path,
        }
        self._adapt(_ADAPTED)
        if ours:
            self._adapt(_RENAMED)
            self._replace_functions(ours)

    def _adapt(self, changes: tuple[tuple[str, str, str], ...]) -> None:
        for name, old, new in changes:
            file = self._tree / "plugins" / name
            text = file.read_text()
            assert old in text, (name, old)
            file.write_text(text.replace(old, new))

    def _replace_functions(self, ours: Path) -> None:
        for folder in _FOLDERS.values():
            for file in (self._tree / folder).glob("*.go"):
                text = file.read_text()
                file.write_text(re.sub(r"^func cmd(Add|Check|Del)\(", r"func reference\1(", text, flags=re.M))
            shutil.copy(_CALL, self._tree / folder)
        # Its specs start an executable, which they compile.
        compiled = 'gexec.Build("github.com/containernetworking/plugins/plugins/main/loopback")'
        name = "main/loopback/loopback_suite_test.go"
        self._adapt(((name, compiled, f'"{ours / "loopback"}", error(nil)'),))

    def run(self, plugin: str) -> Outcome:
        """Run the specs of a plugin, on a host of its own."""
        folder = self._tree / _FOLDERS[plugin]
        program = self._home / f"{plugin}.test"
        compiling = ["go", "test", "-c", "-o", str(program), "."]
        subprocess.run(compiling, cwd=folder, env=self._environment, check=True)
        options = ["-ginkgo.noColor", "-test.timeout=20m"]
        environment = dict(self._environment)
        if self._ours:
            options.append(f"-ginkgo.skip={_INNER}")
            environment["SHIBAFU_PLUGIN"] = str(self._ours / plugin)
        with Namespace("specs") as host:
            done = subprocess.run(
                [
                    *("/usr/bin/nsenter", f"--net={host.path}", "/usr/bin/unshare", "--mount"),
                    *("/bin/sh", "-ec", _ALONE, "sh", str(program), *options),
                ],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        counted = _COUNTED.search(done.stdout)
        assert counted is not None, done.stdout
        failed = _FAILED.findall(done.stdout)
        assert len(failed) == int(counted[2]), done.stdout
        return Outcome(int(counted[1]), frozenset(name.strip() for name in failed), done.stdout)
