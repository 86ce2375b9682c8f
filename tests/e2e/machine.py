"""A machine for one test: runtimes, plugins and containers run in it, and the real one stays as it is."""

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from e2e.image import FETCH, SEEN_ADDRESS, parse_seen_address
from support.namespaces import Namespace

CNI_PATH = "/opt/cni/bin"
REFERENCE = "/run/reference"  # a directory of CNI_PATH that holds only the reference's plugins
HOST = ("198.51.100.1", "2001:db8::1")  # as the world outside sees the machine
OUTSIDE = ("198.51.100.2", "2001:db8::2")

_INIT = Path(__file__).with_name("init.sh")
_NETNS_ADD = Path(__file__).parents[1] / "support/netns_add.sh"
_CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts")  # for unshare(1) and nsenter(1)
_TIMEOUT = 60  # seconds for one program
# What the reference's portmap and firewall keep for good, once they were used.
_LASTING_CHAIN = re.compile(r":([A-Z]+|CNI-HOSTPORT-(DNAT|MASQ|SETMARK)|CNI-FORWARD|CNI-ADMIN) ")
_BRIDGE_S_RECORD = re.compile(r"/run/shibafu/\d+/.*/veth")
_RULE_OF_A_CONTAINER = re.compile(r"SHIBAFU| -[sd] | --dports? ")


class Machine:
    """Namespaces for network, mounts and processes, with our plugins in place of the reference's.

    A network namespace `outside` is connected to it; see init.sh.

    Args:
        suite: the directory of our executables.
    """

    def __init__(self, suite: Path) -> None:
        self._holder = subprocess.Popen(
            ["unshare", *_NAMESPACES, "--propagation", "private", "--fork", "--kill-child", _INIT, suite],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment({}),
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise AssertionError(f"{_INIT} failed with status {self._holder.wait()}")
        pid = self._holder.pid
        self._init = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
        self.root = Path(f"/proc/{self._init}/root")
        self._namespaces = {"/run/netns/outside"}
        self.cgroup = f"/shibafu-e2e-{pid}"

    def __enter__(self) -> "Machine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all of its processes."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(_TIMEOUT)
        for hierarchy in _CGROUPS.iterdir():
            for directory, _, _ in os.walk(f"{hierarchy}{self.cgroup}", topdown=False):
                os.rmdir(directory)

    # Programs

    def run(self, *argv: str, netns: str = "", env: Mapping[str, str] | None = None, stdin: str = "") -> str:
        """Run a program and return what it printed.

        Args:
            argv: the program and its arguments.
            netns: a name in /run/netns; the machine's own when empty.
            env: what to add to the environment.
            stdin: what to feed it.

        Raises:
            AssertionError: it failed, with what it said.
        """
        done = self.try_run(*argv, netns=netns, env=env, stdin=stdin)
        assert done.returncode == 0, f"{argv} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_run(
        self, *argv: str, netns: str = "", env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program that may fail."""
        return subprocess.run(
            [*self._enter(netns), *argv],
            env=_environment(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )

    def start(self, *argv: str, netns: str = "") -> "subprocess.Popen[str]":
        """Start a program; it ends with the machine at the latest."""
        return subprocess.Popen(
            [*self._enter(netns), *argv],
            env=_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _enter(self, netns: str) -> list[str]:
        inside = ["ip", "netns", "exec", netns] if netns else []
        return ["nsenter", f"--target={self._init}", *_NAMESPACES, "--", *inside]

    # Files

    def read(self, path: str) -> str:
        """Return the content of one of its files."""
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, content: object) -> None:
        """Write one of its files, as JSON unless the content is text."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))

    def files(self, path: str) -> list[str]:
        """Return the paths of all files in a directory and those below."""
        directory = self.root / path.lstrip("/")
        return sorted(f"/{file.relative_to(self.root)}" for file in directory.rglob("*") if file.is_file())

    # Networks and containers

    def network_write(self, name: str, *plugins: Mapping[str, object], version: str = "1.0.0") -> None:
        """Configure a network for the runtimes."""
        config = {"cniVersion": version, "name": name, "plugins": plugins}
        self.write(f"/etc/cni/net.d/{name}.conflist", config)

    def netns_add(self, *names: str) -> None:
        """Make namespaces that stand for containers."""
        self._namespaces |= {f"/run/netns/{name}" for name in names}
        self.run(str(_NETNS_ADD), *names)

    def netns_del(self, *names: str) -> None:
        """Delete them."""
        for name in names:
            self.run("ip", "netns", "del", name)

    def namespace(self, netns: str = "") -> Namespace:
        """Return a namespace for sockets of the test's own."""
        namespace = Namespace.of_name(netns)
        namespace.path = str(self.root / "run/netns" / netns) if netns else f"/proc/{self._init}/ns/net"
        return namespace

    def serve(self, netns: str) -> None:
        """Start a server for `fetch_seen_address` in a namespace."""
        self.write("/run/www/cgi-bin/address", SEEN_ADDRESS)
        (self.root / "run/www/cgi-bin/address").chmod(0o755)
        self.start("busybox", "httpd", "-f", "-p", "80", "-h", "/run/www", netns=netns)
        self.wait_for_server("::1", netns)

    def wait_for_server(self, address: str, netns: str = "", port: int = 80) -> None:
        """Wait until a server listens."""
        deadline = monotonic() + _TIMEOUT
        while self.try_fetch_seen_address(address, netns, port) is None:
            assert monotonic() < deadline, f"no server at {address} port {port}"
            sleep(0.02)

    def wait_for_listener(self, pid: int, port: int = 80) -> None:
        """Wait until something listens on a port of TCP in the network namespace of a process."""
        deadline = monotonic() + _TIMEOUT
        listener = re.compile(rf":{port:04X} [0-9A-F]+:0000 0A ")
        tables = ("nsenter", f"--net=/proc/{pid}/ns/net", "cat", "/proc/net/tcp", "/proc/net/tcp6")
        while not listener.search(self.run(*tables)):
            assert monotonic() < deadline, f"nothing listens on port {port}"
            sleep(0.02)

    def fetch_seen_address(self, address: str, netns: str = "", port: int = 80) -> str:
        """Return the address from which the server at `address` sees a client in `netns` come."""
        seen = self.try_fetch_seen_address(address, netns, port)
        assert seen is not None, f"no answer from {address} port {port} to {netns or 'the host'}"
        return seen

    def try_fetch_seen_address(self, address: str, netns: str = "", port: int = 80) -> str | None:
        """Do the same where there may be no server."""
        done = self.try_run("sh", "-c", FETCH, "sh", address, str(port), netns=netns)
        return parse_seen_address(done.stdout) if done.stdout else None

    # What plugins leave in it

    def records(self) -> list[str]:
        """Return the attachments that shibafu-bridge remembers, as the host's links are called."""
        files = self.files("/run/shibafu")
        return [path.rpartition("/")[2] for path in files if _BRIDGE_S_RECORD.match(path)]

    def leases(self) -> list[str]:
        """Return the lease files of host-local's store."""
        return [path for path in self.files("/var/lib/cni/networks") if _is_address(path.rpartition("/")[2])]

    def rules(self) -> list[str]:
        """Return the firewall's rules and chains for containers and networks."""
        lines: list[str] = []
        for program in ("iptables-save", "ip6tables-save"):
            lines += self.run(program).splitlines()
        return [
            line
            for line in lines
            if (line.startswith(":") and not _LASTING_CHAIN.match(line))
            or (line.startswith("-A") and _RULE_OF_A_CONTAINER.search(line))
        ]

    def leftovers(self) -> list[str]:
        """Return all that plugins and runtimes have forgotten; bridges may stay."""
        links = json.loads(self.run("ip", "-json", "-details", "link"))
        kinds = {link["ifname"]: link.get("linkinfo", {}).get("info_kind") for link in links}
        return [
            *(name for name, kind in kinds.items() if kind not in {None, "bridge"} and name != "uplink"),
            *self.rules(),
            *re.findall(".*(?:shibafu|cni).*", self.run("nft", "list", "tables")),
            *self.leases(),
            *self.files("/run/shibafu"),
            *self.files("/var/lib/cni/results"),
            *(set(self.files("/run/netns")) - self._namespaces),
        ]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"} | dict(more)


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
