"""A machine for tests: a host's network namespace where plugins are called, and its containers."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Any

from support.namespaces import Namespace
from support.suite import Suite

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
RECORDS = Path("/run/shibafu")
POLICIES = Path("/var/lib/shibafu/policy")

Config = dict[str, Any]


class Answer:
    """What a plugin answered.

    Args:
        status: its exit status.
        stdout: what it printed.
        stderr: what it logged.
    """

    def __init__(self, status: int, stdout: bytes, stderr: str) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> Any:
        """The answer, None when there was no output."""
        return loads(self.stdout) if self.stdout else None

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, stdout={self.stdout.decode()!r}, stderr={self.stderr!r})"


class Machine:
    """A host and its containers.

    Args:
        suite: the plugins.
        host: the host's namespace.
        directory: for what the plugins store.
        path: the plugins' PATH.
    """

    def __init__(self, suite: Suite, host: Namespace, directory: Path, path: str = SYSTEM_PATH) -> None:
        self.suite = suite
        self.host = host
        self.directory = directory
        self.path = path
        self.cni_path = str(suite.directory)
        self._plugin: Path | None = None
        # What the plugin is started with: its arguments are the plugin's.
        self.prefix: list[str] = []
        # What else is in the environment of the plugin.
        self.env: dict[str, str] = {}
        # What networks of its `config` make their rules with, if a test asks for one.
        self.backend = ""
        self.data_dir = directory / "networks"
        self.records = RECORDS / str(os.stat(host.path).st_ino)
        # A namespace that was deleted with containers on it may have had the same number.
        self._forget()
        self._containers: dict[str, Namespace] = {}
        self._results: dict[tuple[str, str, str], Config] = {}

    @property
    def plugin(self) -> Path:
        """The plugin that is called: the suite's bridge plugin, unless a test sets another."""
        return self._plugin or self.suite.bridge

    @plugin.setter
    def plugin(self, plugin: Path) -> None:
        self._plugin = plugin

    def close(self) -> None:
        """Delete the containers and what the plugins remember of this host."""
        for container in self._containers.values():
            container.delete()
        self._forget()

    def _forget(self) -> None:
        for parent in (RECORDS, RECORDS / "firewall"):
            shutil.rmtree(parent / self.records.name, ignore_errors=True)
        for path in POLICIES.glob(f"{self.records.name}.*"):
            path.unlink()
        for kind in ("moved", "uplinks"):
            for path in (RECORDS / kind).glob(f"*{self.records.name}-*"):
                path.unlink()
        (RECORDS / "ports" / self.records.name).unlink(missing_ok=True)

    def container(self, name: str = "c1") -> Namespace:
        """Return the namespace of the container called `name`, making it when it is new."""
        if name not in self._containers:
            self._containers[name] = Namespace(name)
        return self._containers[name]

    # Configurations

    def config(self, *subnets: str, **keys: Any) -> Config:
        """Return a NAT network of one range for each subnet, of version 1.1.0, changed by `keys`."""
        ranges = [[{"subnet": subnet}] for subnet in subnets or ("10.10.0.0/24",)]
        config: Config = {
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "bridge",
            "bridge": "br0",
            "isDefaultGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": ranges, "dataDir": str(self.data_dir)},
        }
        return {key: value for key, value in (config | keys).items() if value is not None}

    def layer2(self, **keys: Any) -> Config:
        """Return a network without addresses."""
        return self.config(**{"ipam": None, "ipMasq": None, "isDefaultGateway": None} | keys)

    # Calls

    def start(
        self, command: str, config: Config, container: str = "c1", ifname: str = "eth0", **env: str | None
    ) -> "Call":
        """Begin a call of the plugin; `env` changes the environment, None takes a variable away."""
        return Call(self, *self._prepare(command, config, container, ifname, env))

    def _prepare(
        self, command: str, config: Config, container: str, ifname: str, env: dict[str, str | None]
    ) -> tuple[dict[str, str], str]:
        """Return a call's environment and what it reads."""
        environment: dict[str, str | None] = {
            "CNI_COMMAND": command,
            "CNI_PATH": self.cni_path,
            "PATH": self.path,
            **self.env,
        }
        if command in ("ADD", "DEL", "CHECK"):
            environment |= {"CNI_CONTAINERID": container, "CNI_IFNAME": ifname}
            if "CNI_NETNS" not in env:
                environment["CNI_NETNS"] = self.container(container).path
        document = dict(config)
        if command == "CHECK" and "prevResult" not in document:
            document["prevResult"] = self._results[document["name"], container, ifname]
        document = {key: value for key, value in document.items() if value is not None}
        return {k: v for k, v in (environment | env).items() if v is not None}, dumps(document)

    def call(
        self, command: str, config: Config, container: str = "c1", ifname: str = "eth0", **env: str | None
    ) -> Answer:
        """Call the plugin."""
        module = self.suite.find_module(self.plugin)
        if not (self.suite.warm and module) or self.prefix:
            return self.start(command, config, container, ifname, **env).finish()
        environment, document = self._prepare(command, config, container, ifname, env)
        status, stdout, stderr = self.suite.warm.call(
            self.plugin, module, environment, self.host.path, document.encode()
        )
        return Answer(status, stdout, stderr.decode())

    def add(self, config: Config, container: str = "c1", ifname: str = "eth0", **env: str | None) -> Config:
        """ADD, which must succeed; return the result. CHECK will be given it as prevResult."""
        answer = self.call("ADD", config, container, ifname, **env)
        assert answer.status == 0, answer
        result: Config = answer.json
        self._results[config["name"], container, ifname] = result
        return result

    def result(self, config: Config, container: str = "c1", ifname: str = "eth0") -> Config:
        """Return what ADD has answered."""
        return self._results[config["name"], container, ifname]

    def delete(self, config: Config, container: str = "c1", ifname: str = "eth0", **env: str | None) -> None:
        """DEL, which must succeed and say nothing."""
        answer = self.call("DEL", config, container, ifname, **env)
        assert (answer.status, answer.stdout) == (0, b""), answer

    def check(self, config: Config, container: str = "c1", ifname: str = "eth0", **env: str | None) -> None:
        """CHECK, which must succeed and say nothing."""
        answer = self.call("CHECK", config, container, ifname, **env)
        assert (answer.status, answer.stdout) == (0, b""), answer

    def collect_garbage(self, config: Config, *valid: tuple[str, str]) -> None:
        """GC with a list of valid attachments, which must succeed and say nothing."""
        listed = [{"containerID": container, "ifname": ifname} for container, ifname in valid]
        answer = self.call("GC", config | {"cni.dev/valid-attachments": listed})
        assert (answer.status, answer.stdout) == (0, b""), answer

    def fail(
        self,
        config: Config,
        container: str = "c1",
        ifname: str = "eth0",
        command: str = "ADD",
        **env: str | None,
    ) -> Config:
        """Call what must fail; return the error object."""
        answer = self.call(command, config, container, ifname, **env)
        assert answer.status == 1, answer
        error: Config = answer.json
        assert error["cniVersion"] == config.get("cniVersion", "")
        assert error["msg"], answer
        assert "Traceback" not in answer.stderr
        return error

    def hide(self, *commands: str) -> None:
        """Have later calls see a file system that these shell commands changed, for them alone."""
        script = " && ".join([*commands, 'exec "$@"'])
        self.prefix = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh"]

    def make_plugin(self, script: str, name: str = "host-local") -> str:
        """Make a directory for CNI_PATH with a shell script in place of the IPAM plugin, and return it.

        In the script, $REAL is the path of the real one.
        """
        directory = self.directory / f"plugins-{len(list(self.directory.iterdir()))}"
        directory.mkdir()
        plugin = directory / name
        plugin.write_text(f"#!/bin/sh\nREAL={self.suite.directory}/{name}\n{script}\n")
        plugin.chmod(0o755)
        return str(directory)

    def make_program(self, name: str, script: str) -> str:
        """Make a program that is found first in PATH, and return that PATH; $REAL is the real one's path."""
        directory = self.directory / f"bin-{len(list(self.directory.iterdir()))}"
        directory.mkdir()
        program = directory / name
        program.write_text(f"#!/bin/sh\nREAL=/usr/sbin/{name}\n{script}\n")
        program.chmod(0o755)
        return f"{directory}:{self.path}"

    # What is there

    def links(self, namespace: Namespace | None = None) -> dict[str, Config]:
        """Return each link of a namespace, the host's by default, with addresses and details."""
        text = (namespace or self.host).run("ip", "-j", "-d", "addr")
        return {link["ifname"]: link for link in loads(text)}

    def addresses(self, ifname: str, namespace: Namespace | None = None) -> set[str]:
        """Return a link's addresses, without the link-local ones."""
        found = self.links(namespace)[ifname]["addr_info"]
        return {f"{a['local']}/{a['prefixlen']}" for a in found if a["scope"] != "link"}

    def routes(self, namespace: Namespace, *arguments: str) -> list[Config]:
        """Return what `ip route` lists."""
        routes: list[Config] = loads(namespace.run("ip", "-j", "-d", *arguments))
        return routes

    def rules(self) -> list[str]:
        """Return the rules and the chains of people's own, of both families and all tables."""
        rules4, rules6 = self._read(self.host, "iptables-save", "ip6tables-save")
        return _own_rules("iptables", rules4) + _own_rules("ip6tables", rules6)

    def tables(self) -> set[str]:
        """Return the tables of nftables that are not iptables' own."""
        return _own_tables(self._read(self.host, "nft list tables")[0])

    def leases(self) -> set[str]:
        """Return network/address of each lease."""
        files = {str(path.relative_to(self.data_dir)) for path in self.data_dir.glob("[!.]*/*")}
        return {name for name in files if "/last_reserved_ip." not in name and not name.endswith("/lock")}

    def remembered(self) -> set[str]:
        """Return the files of what the plugins remember of this host."""
        return {str(path.relative_to(self.records)) for path in self.records.rglob("*")}

    def snapshot(self) -> dict[str, object]:
        """Return all that an attachment may leave behind: what is there before it and after it is equal."""
        self.container()
        links, routes4, routes6, rules4, rules6, tables = self._read(
            self.host,
            "ip -j -d addr",
            "ip -j -4 route",
            "ip -j -6 route",
            "iptables-save",
            "ip6tables-save",
            "nft list tables",
        )
        return {
            "links": _stable_links(links),
            "routes": [
                {key: route.get(key) for key in ("dst", "gateway", "dev", "metric", "prefsrc")}
                for route in loads(routes4) + loads(routes6)
                if not route["dst"].startswith("fe80:")
            ],
            "rules": _own_rules("iptables", rules4) + _own_rules("ip6tables", rules6),
            "tables": _own_tables(tables),
            "leases": self.leases(),
            "records": self.remembered(),
            "containers": {
                name: _stable_links(self._read(namespace, "ip -j -d addr")[0])
                for name, namespace in self._containers.items()
                if os.path.exists(namespace.path)
            },
        }

    def _read(self, namespace: Namespace, *commands: str) -> list[str]:
        """Return what each command prints inside a namespace; one process is much quicker than many."""
        separator = "-- next --"
        script = f"; echo '{separator}'; ".join(commands)
        argv = ["/usr/bin/nsenter", f"--net={namespace.path}", "/bin/sh", "-ec", script]
        done = subprocess.run(argv, env={"PATH": self.path}, check=True, capture_output=True, text=True)
        return done.stdout.split(f"{separator}\n")

    def iptables(self, *arguments: str, family: str = "iptables") -> None:
        """Change a rule as an administrator does."""
        self._read(self.host, f"{family} {' '.join(arguments)}")


def link_iptables(directory: Path, variant: str) -> str:
    """Return a PATH that finds iptables of one variant, `nft` or `legacy`, by links in a new directory."""
    directory.mkdir()
    for family in ("iptables", "ip6tables"):
        for name in ("", "-save", "-restore"):
            (directory / (family + name)).symlink_to(f"/usr/sbin/xtables-{variant}-multi")
    return f"{directory}:{SYSTEM_PATH}"


def _own_rules(family: str, saved: str) -> list[str]:
    return [
        f"{family} {line.split(' [')[0]}"
        for line in saved.splitlines()
        if line.startswith("-A") or (line.startswith(":") and line.split()[1] == "-")
    ]


def _own_tables(listed: str) -> set[str]:
    return {
        table for table in listed.splitlines() if table.split()[-1] not in ("filter", "nat", "mangle", "raw")
    }


def _stable_links(listed: str) -> dict[str, Config]:
    return {link["ifname"]: _stable(link) for link in loads(listed)}


def _stable(link: Config) -> Config:
    """Return what does not change by itself: an IPv6 link-local address comes some time after the carrier."""
    stable = {key: link.get(key) for key in ("link_type", "address", "mtu", "master", "link_index")}
    stable["flags"] = sorted(set(link["flags"]) - {"NO-CARRIER", "LOWER_UP"})
    stable["addresses"] = [
        (a["local"], a["prefixlen"]) for a in link["addr_info"] if not a["local"].startswith("fe80:")
    ]
    return stable


class Call:
    """A call of a plugin that runs.

    Args:
        machine: where.
        env: its whole environment.
        config: what it reads.
    """

    def __init__(self, machine: Machine, env: Mapping[str, str], config: str) -> None:
        self.process = subprocess.Popen(
            [
                "/usr/bin/nsenter",
                f"--net={machine.host.path}",
                *machine.prefix,
                str(machine.plugin),
            ],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._config = config.encode()
        assert self.process.stdin
        # A configuration fits into a pipe, so that this waits for nobody.
        self.process.stdin.write(self._config)
        # One that is killed before it has read leaves nobody to write to.
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdin = None

    def finish(self) -> Answer:
        """Wait for the answer."""
        stdout, stderr = self.process.communicate(timeout=60)
        return Answer(self.process.returncode, stdout, stderr.decode())

    def kill(self) -> None:
        """End it as a crash would, SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
