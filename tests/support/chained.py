"""Chains of plugins, called as runtimes call them; any of the plugins may be the reference's."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from support.machine import RECORDS, Answer, Config, Machine
from support.published import publish

# In the order of a runtime's configuration.
ROLES = ("bridge", "portmap", "bandwidth", "firewall", "tuning")
REFERENCE = Path("/usr/lib/cni")  # Debian's containernetworking-plugins
# Their bridges and subnets.
NETWORKS = {
    "net": ("br0", "10.10.0.0/24", "fd00:10::/64"),
    "other": ("br1", "10.20.0.0/24", "fd00:20::/64"),
}
SERVER_PORT, HOST_PORT = 80, 8080
RATE = 20_000_000  # bits a second, either way
MTU = 1400
_LIMITS = {"ingressRate": RATE, "ingressBurst": RATE // 4, "egressRate": RATE, "egressBurst": RATE // 4}


class Chain:
    """A network whose containers publish a port by TCP and UDP, are limited, protected and changed.

    Args:
        machine: where.
        theirs: the roles that are the reference's.
        version: of the network's configuration; 1.1.0 has GC.
        roles: the plugins that are in the chain.
        network: one of `NETWORKS`.
        backend: of masquerading and published ports; empty: what the plugins choose.
        host_port: what is published of the host.
    """

    def __init__(
        self,
        machine: Machine,
        theirs: Collection[str] = (),
        version: str = "1.0.0",
        roles: tuple[str, ...] = ROLES,
        network: str = "net",
        backend: str = "",
        host_port: int = HOST_PORT,
    ) -> None:
        self.machine = machine
        self.theirs = theirs
        self.version = version
        self.roles = roles
        self.network = network
        self.backend = backend
        self.host_port = host_port
        self.backups = machine.directory / "tuning"
        # What the plugin of a role is started with: its arguments are the plugin's.
        self.prefixes: dict[str, list[str]] = {}
        self._results: dict[str, Config] = {}

    def configure(self, role: str) -> Config:
        """Return a plugin's configuration, without what a runtime adds for a call."""
        if role == "bridge":
            bridge, *subnets = NETWORKS[self.network]
            backend = {"ipMasqBackend": self.backend} if self.backend else {}
            keys = {"name": self.network, "bridge": bridge, "hairpinMode": True, **backend}
            return self.machine.config(*subnets, cniVersion=self.version, **keys)
        backend = {"backend": self.backend} if self.backend else {}
        sections: dict[str, Config] = {
            "portmap": {"capabilities": {"portMappings": True}, **backend},
            "bandwidth": {"capabilities": {"bandwidth": True}},
            "firewall": {"ingressPolicy": "same-bridge"},
            "tuning": {"mtu": MTU, "allmulti": True, "dataDir": str(self.backups)},
        }
        return {"cniVersion": self.version, "name": self.network, "type": role} | sections[role]

    def hand_over(self, role: str) -> Config:
        """Return what a runtime asks a plugin for."""
        mappings = [publish(self.host_port, SERVER_PORT, protocol) for protocol in ("tcp", "udp")]
        asked: dict[str, Config] = {
            "portmap": {"portMappings": mappings},
            "bandwidth": {"bandwidth": _LIMITS},
        }
        return {"runtimeConfig": asked[role]} if role in asked else {}

    def call(
        self,
        verb: str,
        role: str,
        container: str = "c1",
        previous: Config | None = None,
        is_cached: bool = True,
        **env: str,
    ) -> Answer:
        """Call one plugin.

        Args:
            verb: the verb.
            role: the plugin's.
            container: the container.
            previous: what the plugins before, or all of them, have answered.
            is_cached: whether the runtime still knows what the container asked for.
            env: changes the environment.
        """
        config: dict[str, Any] = self.configure(role) | (self.hand_over(role) if is_cached else {})
        self._select(role)
        # Without a result, `machine` would give a CHECK that of its own last ADD.
        return self.machine.call(verb, config | {"prevResult": previous}, container, **env)

    def try_add(self, container: str = "c1") -> Answer:
        """Attach a container, as far as it gets; return the last plugin's answer."""
        self._results.pop(container, None)
        result: Config | None = None
        for role in self.roles:
            answer = self.call("ADD", role, container, result)
            if answer.status:
                return answer
            result = answer.json
        assert result is not None
        self._results[container] = result
        return answer

    def add(self, container: str = "c1") -> Config:
        """Attach a container; return the chain's result, which later calls are given."""
        answer = self.try_add(container)
        assert answer.status == 0, (self.machine.plugin, answer)
        return self._results[container]

    def check(self, container: str = "c1", besides: Collection[str] = ()) -> None:
        """CHECK by all plugins but some, each of which must succeed and say nothing."""
        for role in self.roles:
            if role not in besides:
                answer = self.call("CHECK", role, container, self._results[container])
                assert (answer.status, answer.stdout) == (0, b""), (self.machine.plugin, answer)

    def try_delete(self, container: str = "c1", is_cached: bool = True, **env: str) -> Answer:
        """Detach a container as a runtime does, last plugin first, as far as it gets.

        Args:
            container: the container.
            is_cached: whether the runtime still has its cache; without, it knows neither result nor ports.
            env: changes the environment.

        Returns:
            the last plugin's answer.
        """
        result = self._results.get(container) if is_cached else None
        for role in reversed(self.roles):
            answer = self.call("DEL", role, container, result, is_cached, **env)
            if answer.status:
                break
        return answer

    def delete(self, container: str = "c1", is_cached: bool = True, **env: str) -> None:
        """Detach a container, which must succeed and say nothing."""
        answer = self.try_delete(container, is_cached, **env)
        assert (answer.status, answer.stdout) == (0, b""), (self.machine.plugin, answer)

    def collect_garbage(self) -> None:
        """GC by all plugins, with no container left."""
        for role in self.roles:
            self._select(role)
            self.machine.collect_garbage(self.configure(role))

    def _select(self, role: str) -> None:
        directory = REFERENCE if role in self.theirs else self.machine.suite.directory
        self.machine.plugin = directory / role
        self.machine.prefix = self.prefixes.get(role, [])

    def take_over(self, other: "Chain") -> None:
        """Know what another chain has attached."""
        self._results |= other._results

    # What is there

    @property
    def own_files(self) -> list[Path]:
        """What our plugins remember of this host, and what tuning has saved."""
        number = self.machine.records.name
        paths = [RECORDS / number, RECORDS / "firewall" / number, RECORDS / "ports" / number]
        return [path for path in (*paths, self.backups) if path.exists()]

    def snapshot(self) -> dict[str, object]:
        """Return all that a container's attachment may leave behind."""
        files = [
            path
            for directory in self.own_files
            for path in (directory, *directory.rglob("*"))
            if path.is_file()
        ]
        qdiscs = [
            line
            for line in self.machine.host.run("tc", "qdisc", "show").splitlines()
            if not line.startswith("qdisc noqueue ")  # that of each virtual link
        ]
        return self.machine.snapshot() | {"files": files, "qdiscs": qdiscs}
