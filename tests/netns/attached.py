"""A container that shibafu attaches with a configuration of the table, and all that can be seen of it.

It lives in the laboratory of the differential tests, a process with file systems of its own, and calls are
made in children of that process, without the start of an interpreter.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO, StringIO
from json import dumps, loads
from pathlib import Path
from typing import Any

from differential.case import Case, Shell
from differential.laboratory import (
    BASE,
    PLUGIN_DIRECTORY,
    STORE,
    entered,
    made_namespaces,
    run_shell,
)
from differential.snapshot import snapshot_networks
from netns.breakage import Breakage
from netns.crossing import find_lost
from netns.forked_calls import Told, run_forked
from support.schemas import validated

CONTAINER = "c1"
# The directories of the reference's plugins, and of what the command stores.
REFERENCE = "/usr/lib/cni"
_CONF_DIR = Path("/run/net.d")
_CACHE_DIR = STORE / "results"
_RECORDS = Path("/run/shibafu")
# See shibafu.resource.records.
_HINT = "verified"
# What a runtime adds to a plugin's section of a configuration file.
_OF_RUNTIME = ("runtimeConfig", "prevResult")
# What stays in a store, and which tables and chains iptables leaves behind.
_KEPT = ("lock", "last_reserved_ip.")
_TABLES = frozenset(
    ["filter", "nat", "raw", "mangle", "INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"]
)


class Attached:
    """One container on one network.

    Args:
        case: its configuration, and what is there before.
        is_reference: whether the reference attaches it.
    """

    def __init__(self, case: Case, is_reference: bool = False) -> None:
        self.is_reference = is_reference
        self.config = {key: value for key, value in (BASE | dict(case.config)).items() if value is not None}
        self.network = str(self.config.get("name"))
        env: dict[str, str | None] = {
            "PATH": os.environ["PATH"],
            "CNI_CONTAINERID": CONTAINER,
            "CNI_NETNS": f"/run/netns/{CONTAINER}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": PLUGIN_DIRECTORY,
        }
        self.env = {key: value for key, value in (env | dict(case.env)).items() if value is not None}
        self.result: dict[str, Any] = {}

    @property
    def ifname(self) -> str:
        """The interface's name in the container."""
        return self.env["CNI_IFNAME"]

    @property
    def version(self) -> str:
        """The version of the configuration."""
        return str(self.config.get("cniVersion") or "0.1.0")

    # Calls

    def call(self, verb: str) -> Told:
        """Call the plugin."""
        config = self.config | ({"prevResult": self.result} if verb == "CHECK" else {})
        env = self.env | {"CNI_COMMAND": verb}

        def do() -> tuple[int, str]:
            from shibafu.bridge.__main__ import run

            answer = BytesIO()
            sys.argv[0] = f"{PLUGIN_DIRECTORY}/bridge"
            return run(env, BytesIO(dumps(config).encode()), answer), answer.getvalue().decode()

        with entered("host"):
            return run_forked(do)

    def command(self, line: str, plugins: str = PLUGIN_DIRECTORY) -> Told:
        """Run `shibafu` with a command line, for JSON, which is what its schema says."""

        def do() -> tuple[int, str]:
            from shibafu.cli.parser import run

            out = StringIO()
            os.environ |= {"CNI_CONF_DIR": str(_CONF_DIR), "CNI_CACHE_DIR": str(_CACHE_DIR)}
            os.environ["CNI_PATH"] = plugins
            return run([*line.split(), "--format", "json"], out, sys.stderr), out.getvalue()

        with entered("host"):
            told = run_forked(do)
        if told.text:
            validated(line, told.json)
        return told

    def configure(self) -> None:
        """Let the command know the network."""
        plugin = {key: value for key, value in self.config.items() if key not in ("cniVersion", "name")}
        plugin = {key: value for key, value in plugin.items() if key not in _OF_RUNTIME} | {"type": "bridge"}
        handed_over = self.config.get("runtimeConfig")
        plugin["capabilities"] = dict.fromkeys(handed_over, True) if isinstance(handed_over, dict) else {}
        document = {key: self.config[key] for key in ("cniVersion", "name") if key in self.config}
        _CONF_DIR.mkdir(exist_ok=True)
        (_CONF_DIR / "net.conflist").write_text(dumps(document | {"plugins": [plugin]}))

    def add(self) -> str:
        """ADD; return why it was refused, empty when it was not."""
        if self.is_reference:
            line = f"network connect {self.network} {CONTAINER} --ifname {self.ifname}"
            told = self.command(line, REFERENCE)
            assert not told.status, told
            (cached,) = _CACHE_DIR.iterdir()
            self.result = loads(cached.read_text())["result"]
            return ""
        told = self.call("ADD")
        if not told.status:
            self.result = told.json
        return told.error

    # What is there

    def find_faults(self) -> list[dict[str, Any]]:
        """Return what `repair --dry-run` names."""
        faults: list[dict[str, Any]] = self.command(f"network repair --dry-run {self.network}").json["faults"]
        return faults

    def inspect(self) -> list[str]:
        """Return the faults that `inspect` tells of."""
        (view,) = self.command(f"network inspect {self.network}").json
        parts = [view, *view["endpoints"]]
        return [fault["what"] for part in parts for one in part["resources"] for fault in one["faults"]]

    def repair(self) -> list[dict[str, Any]]:
        """Repair; return what is left.

        Raises:
            AssertionError: it failed, though nothing is left.
        """
        told = self.command(f"network repair {self.network}")
        left: list[dict[str, Any]] = [fault for fault in told.json["faults"] if not fault["repaired"]]
        if told.status and not left:
            raise AssertionError(f"a repair fails, though nothing is left: {told}")
        return left

    def describe(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the resources' names, and what each says that it is to be."""
        from shibafu.bridge.attachment import Attachment
        from shibafu.bridge.config import BridgeConfig
        from shibafu.bridge.plan import plan_attachment
        from shibafu.cni.config import Section
        from shibafu.cni.delegate import Installation
        from shibafu.cni.request import Request
        from shibafu.cni.result import Result, parse_prev_result
        from shibafu.resource.records import NetworkState

        config = self.config | {"prevResult": self.result}
        section = Section(config, "NetConf")
        request = Request("CHECK", self.env, dumps(config).encode(), section, self.version)
        attachment = Attachment(request, BridgeConfig(request))
        result = parse_prev_result(section, self.version) or Result()
        with entered("host"):
            plan = plan_attachment(attachment, NetworkState(self.network), result, Installation("", {}))
        return [(type(resource).__name__, resource.describe()) for resource in plan]

    def list_attributes(self) -> set[str]:
        """Return the attributes of all resources, as `Resource.attribute`."""
        return {f"{name}.{attribute}" for name, described in self.describe() for attribute in described}

    @property
    def port(self) -> str:
        """The link's name on the host."""
        from shibafu.cni.names import calc_host_veth

        if self.is_reference:
            on_host = [i["name"] for i in self.result["interfaces"] if not i.get("sandbox")]
            return str(on_host[1])
        return calc_host_veth(self.network, CONTAINER, self.ifname)

    def snapshot(self) -> dict[str, str]:
        """Return all that a call could change, as a flat table.

        Hints of when rules were last looked at are left out: CHECK renews them, and they tell nothing else.
        """
        seen = snapshot_networks([CONTAINER], entered)
        for namespace in ("host", CONTAINER):
            with entered(namespace):
                seen |= {f"{namespace} {name}": value for name, value in _read_switches()}
        with entered("host"):
            seen["rules"] = _run("nft -s list ruleset; ip rule; ip -6 rule")
        for path in (*_RECORDS.rglob("*"), *STORE.rglob("*")):
            if path.name.partition("-")[0] == _HINT:
                continue
            status = path.lstat()
            is_file = path.is_file()
            seen[str(path)] = (
                f"{status.st_mode:o} {path.read_bytes()!r}" if is_file else f"{status.st_mode:o}"
            )
        return seen

    def find_remains(self) -> set[str]:
        """Return what is to be gone when the container is."""
        with entered(CONTAINER):
            inside = _run("ip -br link").splitlines()
        with entered("host"):
            links = _run("ip -br link").splitlines()
            rules = _run("nft -s list ruleset").splitlines()
        files = [path for path in STORE.glob("networks/[!.]*/*") if not path.name.startswith(_KEPT)]
        records = [path for path in _RECORDS.rglob("*") if "locks" not in path.parts]
        return {
            *(f"container: {line}" for line in inside),
            *(f"link {line.split()[0]}" for line in links),
            *(f"rule {line.strip()}" for line in rules if not _is_of_iptables(line)),
            *map(str, files + records),
        }

    # Breaking it

    def is_checked(self) -> bool:
        """Return whether its version has CHECK."""
        from shibafu.cni.version import allows_verb

        return allows_verb(self.version, "CHECK")

    def has_leases(self) -> bool:
        """Return whether an IPAM plugin keeps leases, and is asked for them."""
        return self.is_checked() and (STORE / "networks" / self.network).exists()

    def read_routes(self) -> list[str]:
        """Return the routes in the container."""
        with entered(CONTAINER):
            return sorted(_run("ip route; ip -6 route").splitlines())

    def find_wrong(self, routes: list[str]) -> list[str]:
        """Return what CHECK says, what packets do not get through, and routes that are none of `routes`."""
        told = self.call("CHECK").error if self.is_checked() else ""
        lost = find_lost(dict(self.describe()), self.ifname)
        strange = set(self.read_routes()).symmetric_difference(routes)
        wrong = [f"lost: {what}" for what in lost] + [f"route: {route}" for route in strange]
        return [told] * bool(told) + wrong

    def find_words(self) -> dict[str, str]:
        """Return what stands for words in braces of any breakage."""
        from shibafu.cni.names import calc_chain

        chain = calc_chain(self.network)
        return {
            "network": self.network,
            "ifname": self.ifname,
            "chain": chain,
            "table": chain.lower(),
            "store": str(STORE),
            "port": self.port,
            "bridge": str(dict(self.describe())["Bridge"]["name"]),
        }

    def try_breakage(self, breakage: Breakage, words: Mapping[str, Any], is_first: bool) -> list[str]:
        """Break something and have it mended; return what was not as it is to be.

        Args:
            breakage: what to break, and how.
            words: what stands for the words in its braces.
            is_first: whether it is what CHECK names, which names the first fault alone.
        """
        said, advised = breakage.said.format(**words), breakage.advised.format(**words)
        routes = self.read_routes()
        _run_line(breakage.command.format(**words))
        problems = []
        told = self.call("CHECK") if self.is_checked() else None
        checked = told.error if told is not None else said
        faults = self.find_faults()
        if is_first and said not in checked:
            problems.append(f"CHECK says {checked!r}")
        if told is not None and not told.details:
            problems.append(f"CHECK says {checked!r}, and not what to do")
        if not any(said in fault["what"] for fault in faults):
            problems.append(f"the dry run says {faults}")
        # Nobody is asked for leases there.
        named = self.inspect()
        if not any(said in what for what in named) and not breakage.attribute.startswith("AddressLease."):
            problems.append(f"inspect says {named}")
        if self.is_checked() and checked not in [fault["what"] for fault in faults]:
            problems.append(f"CHECK says {checked!r}, and the dry run {faults}")
        left = self.repair()
        if not breakage.listed:
            problems += [f"left: {fault}" for fault in left]
        elif not any(
            said in fault["what"] and fault["advice"] and advised in fault["advice"] for fault in left
        ):
            problems.append(f"a repair does not say what to do: {left}")
        if breakage.undo:
            _run_line(breakage.undo.format(**words))
        if breakage.listed:
            problems += [f"left: {fault}" for fault in self.repair()]
        problems += [f"after the repair: {what}" for what in self.find_wrong(routes)]
        return [f"{breakage.command.format(**words)}: {problem}" for problem in problems]


@contextmanager
def made_attached(case: Case, is_reference: bool = False) -> Iterator[Attached]:
    """Have namespaces with what a case wants to be there before, and nothing attached yet."""
    with made_namespaces([CONTAINER]):
        STORE.mkdir(parents=True, exist_ok=True)
        for shell in case.setup:
            run_shell(shell)
        attached = Attached(case, is_reference)
        attached.configure()
        yield attached


def _run_line(line: str) -> None:
    """Run what a breakage says on the host or, if it begins so, inside the container."""
    place, _, inside = line.partition("inside: ")
    run_shell(Shell(CONTAINER, inside) if inside else Shell("host", place))


def _read_switches() -> Iterator[tuple[str, str]]:
    """Yield the switches of each link and of the namespace, and their values."""
    for family in ("ipv4", "ipv6"):
        for path in Path(f"/proc/sys/net/{family}/conf").glob("*/*"):
            if path.parent.name not in ("default", "lo"):
                with suppress(OSError):  # one that is only written, or has no value
                    yield str(path), path.read_text()


def _is_of_iptables(line: str) -> bool:
    """Return whether a line of nft's is not a rule, nor the name of somebody's chain or table."""
    words = line.split()
    return not words or words[0] in ("type", "}") or not _TABLES.isdisjoint(words[1:])


def _run(line: str) -> str:
    done = subprocess.run(["sh", "-ec", line], check=True, capture_output=True, text=True)
    return done.stdout


def find_differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return in what two snapshots differ."""
    return [
        f"{name}: {before.get(name, 'nothing')} -> {after.get(name, 'nothing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
