"""Runs a case with one suite, in a machine of its own as far as plugins can see.

Each suite has a process with a private mount namespace: /run, /var/lib and /opt are empty file systems
of its own, so that both suites are called with the very same paths and cannot meet. Each case has
fresh network namespaces: the host's, one for each container, and one for the world outside.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import CDLL, get_errno
from pathlib import Path
from shutil import rmtree

from differential.case import Call, Case, Shell
from differential.probe import OUTSIDE_ADDRESSES, UPLINK_ADDRESSES, probe
from differential.probe_published import probe_published
from differential.snapshot import flatten, snapshot_networks, snapshot_store
from differential.snapshot_limits import snapshot_limits
from shibafu.engine.programs import SERVED
from support.sysctls import write_sysctls
from support.warm_plugins import warm_plugins

PLUGIN_DIRECTORY = "/opt/cni/bin"
STORE = Path("/var/lib/cni")
_PRIVATE = ("/run", "/var/lib", "/opt")
_OUTSIDE_MAC = "02:00:00:00:00:0e"
BASE = {"cniVersion": "1.0.0", "name": "net"}
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_LIBC = CDLL(None, use_errno=True)
_TIMEOUT = 30  # seconds for one call
# What the world outside sees of a container is theirs.
_NETWORKING = ("bridge", "firewall", "portmap")


def _check(status: int) -> None:
    if status:
        raise OSError(get_errno(), os.strerror(get_errno()))


def enter_machine(suite: Mapping[str, str]) -> None:
    """Make this process the suite's machine.

    Args:
        suite: the plugins' names and their executables.
    """
    _check(_LIBC.unshare(_CLONE_NEWNS))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for directory in _PRIVATE:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    os.makedirs(PLUGIN_DIRECTORY)
    for name, executable in suite.items():
        os.symlink(executable, f"{PLUGIN_DIRECTORY}/{name}")


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Be inside a named network namespace."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    _check(_LIBC.setns(other, _CLONE_NEWNET))
    try:
        yield
    finally:
        _check(_LIBC.setns(own, _CLONE_NEWNET))
        os.close(own)
        os.close(other)


def _ip(*arguments: str, lines: tuple[str, ...] = ()) -> None:
    batch = ("-batch", "-") if lines else ()
    subprocess.run(["ip", *arguments, *batch], check=True, input="\n".join(lines), text=True)


def _containers(case: Case) -> list[str]:
    return sorted(
        {"c1", *(call.container for call in case.calls), *(c.namespace for c in case.setup)} - {"host"}
    )


def run_case(case: Case, is_reference: bool, roots: tuple[Path, ...] = ()) -> dict[str, str]:
    """Run all calls of a case.

    Args:
        case: what to call, and with what.
        is_reference: whether the suite is the reference.
        roots: the directories of the sources that plugins start; none if they were built.

    Returns:
        All that was seen: answers, and the state after the last ADD and at the end.
    """
    containers = _containers(case)
    has_network = case.plugin in _NETWORKING
    with made_namespaces(containers, has_network):
        # An IPAM plugin sees nothing of networks.
        return _Run(case, is_reference, roots, [] if case.plugin == "host-local" else containers).run()


@contextmanager
def made_namespaces(containers: list[str], has_network: bool = True) -> Iterator[None]:
    """Have the host's namespace and containers', and remove them with all that plugins remember.

    Args:
        containers: their names.
        has_network: whether the host is connected to the world outside.
    """
    namespaces = ["host", *containers, *(["outside"] if has_network else [])]
    for namespace in namespaces:
        _ip("netns", "add", namespace)
        with entered(namespace):
            write_sysctls()
    try:
        if has_network:
            _setup_uplink()
        yield
    finally:
        for namespace in namespaces:
            _ip("netns", "del", namespace)
        for directory in (STORE, Path("/run/shibafu"), Path("/run/cni")):
            rmtree(directory, ignore_errors=True)


def _setup_uplink() -> None:
    """Connect the host to the world outside, as plugins find it."""
    with entered("host"):
        # Packets to a gateway that is still looking for duplicates of its address get lost, by chance.
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    pair = f"link add uplink type veth peer name uplink address {_OUTSIDE_MAC} netns outside"
    # Known neighbours: a new link may take a second until it answers who has an address.
    neighbours = (
        f"neigh add {address.partition('/')[0]} lladdr {_OUTSIDE_MAC} dev uplink"
        for address in OUTSIDE_ADDRESSES
    )
    _ip("-n", "host", lines=("link set lo up", pair, *_calc_addresses(UPLINK_ADDRESSES), *neighbours))
    _ip("-n", "outside", lines=_calc_addresses(OUTSIDE_ADDRESSES))


def _calc_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    add = (f"addr add {address} dev uplink{' nodad' if ':' in address else ''}" for address in addresses)
    return (*add, "link set uplink up")


class _Run:
    """One case with one suite."""

    def __init__(
        self, case: Case, is_reference: bool, roots: tuple[Path, ...], containers: list[str]
    ) -> None:
        self.case = case
        self.roots = roots
        self.is_reference = is_reference
        self.containers = containers
        config = BASE | dict(case.config)
        if is_reference and case.reference is not None:
            config = _change(config, case.reference)
        self.config = config
        self.results: dict[tuple[str, str], object] = {}
        self.seen: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        STORE.mkdir(parents=True, exist_ok=True)
        for shell in self.case.setup:
            run_shell(shell)
        adds = [i for i, call in enumerate(self.case.calls) if call.verb == "ADD"]
        for i, call in enumerate(self.case.calls):
            for shell in call.before:
                run_shell(shell)
            self._call(f"{i + 1}-{call.verb}", call)
            if adds and i == adds[-1]:
                self._look("after-ADD")
        self._look("at-end")
        return self.seen

    def _call(self, step: str, call: Call) -> None:
        attachment = (call.container, call.ifname)
        config = _change(self.config, call.config)
        if call.verb != "ADD" and call.prev_result and attachment in self.results:
            config |= {"prevResult": self.results[attachment]}
        stdin = call.stdin if call.stdin is not None else json.dumps(config)
        env: dict[str, str | None] = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": (self.is_reference and call.instead) or call.verb,
            "CNI_CONTAINERID": call.container,
            "CNI_NETNS": f"/run/netns/{call.container}",
            "CNI_IFNAME": call.ifname,
            "CNI_PATH": PLUGIN_DIRECTORY,
        }
        env |= self.case.env
        env |= call.env
        status, stdout = _execute(
            f"{PLUGIN_DIRECTORY}/{self.case.plugin}",
            {name: value for name, value in env.items() if value is not None},
            stdin.encode("utf-8", "surrogateescape"),
            self.roots,
        )
        self.seen[f"{step} status"] = str(status)
        if not stdout.strip():
            return
        try:
            answer = json.loads(stdout)
        except ValueError:
            self.seen[f"{step} stdout"] = stdout.decode("utf-8", "replace")
            return
        if call.verb == "ADD" and not status:
            self.results[attachment] = answer
        flatten(self.seen, f"{step} answer", answer)

    def _look(self, when: str) -> None:
        seen = snapshot_store(STORE)
        if self.containers:
            seen |= snapshot_networks(self.containers, entered)
        if self.case.plugin == "bandwidth":
            seen |= snapshot_limits(entered)
        if self.case.plugin in _NETWORKING and when == "after-ADD":
            seen |= probe(self.containers, entered)
        if self.case.plugin == "portmap":
            seen |= probe_published("c1", entered)
        self.seen |= {f"{when} {name}": value for name, value in seen.items()}


def _execute(plugin: str, env: dict[str, str], stdin: bytes, roots: tuple[Path, ...]) -> tuple[int, bytes]:
    """Call a plugin on the host; return its exit status and its answer."""
    program = Path(plugin).resolve().name
    if roots and program in SERVED:
        warm = warm_plugins(*roots)
        return warm.call(Path(plugin), SERVED[program], env, "/run/netns/host", stdin)[:2]
    with entered("host"):
        done = subprocess.run(
            [plugin], env=env, input=stdin, capture_output=True, check=False, timeout=_TIMEOUT
        )
    return done.returncode, done.stdout


def _change(config: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return the configuration with the changes; None takes a key away."""
    return {key: value for key, value in (dict(config) | dict(changes)).items() if value is not None}


def run_shell(shell: Shell) -> None:
    """Run a command line in its namespace, which must succeed."""
    with entered(shell.namespace):
        subprocess.run(["sh", "-ec", shell.line], check=True)
