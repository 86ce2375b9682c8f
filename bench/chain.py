"""A chain of plugins as container runtimes put it together: each plugin's calls, and those of all."""

from collections import defaultdict
from collections.abc import Mapping
from json import dumps, loads

from bench.bed import Bed, Host, settle, take_turns
from bench.namespace import Namespace, namespaces
from bench.report import Row
from bench.targets import find_targets

# CHECK of the reference's portmap looks for rules of IPv6 where a container has no such address, and fails.
_VERBS = ("ADD", "DEL")
_MBIT = 1_000_000
_MANY, _MANY_TURNS = 1000, 3


def _calc_chained(first_port: int, ports: int = 4) -> Mapping[str, Mapping[str, object]]:
    """Return the plugins behind the bridge plugin, in order, and their sections of the configuration."""
    mappings = [
        {"hostPort": first_port + number, "containerPort": 80, "protocol": "tcp"} for number in range(ports)
    ]
    limits = {
        f"{direction}{key}": value
        for direction in ("ingress", "egress")
        for key, value in (("Rate", 100 * _MBIT), ("Burst", 8 * _MBIT))
    }
    return {
        "portmap": {"runtimeConfig": {"portMappings": mappings}},
        "bandwidth": limits,
        "firewall": {},
        "tuning": {"sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400},
    }


class Chain:
    """One container after the other, attached to a host's network by a chain.

    Args:
        host: the host; its network has NAT.
        chained: the plugins behind the bridge plugin, and their sections.
    """

    def __init__(self, host: Host, chained: Mapping[str, Mapping[str, object]]) -> None:
        self.host = host
        self._chained = chained

    def call(self, verb: str, container: Namespace) -> dict[str, float]:
        """Call all plugins as a runtime does, DEL backwards; return how long each took, in milliseconds."""
        walls = {}
        plugins = ["bridge", *self._chained]
        settle()
        for plugin in reversed(plugins) if verb == "DEL" else plugins:
            env, config = self.host.calc_call(verb, container)
            if plugin != "bridge":
                config = self._calc_config(plugin, config)
            with self.host.namespace.inside():
                sample = self.host.suite.start(plugin, env, config).wait()
            walls[plugin] = sample.wall
            if verb == "ADD":
                self.host.remember(verb, container, sample.output)
        if verb == "DEL":
            self.host.remember(verb, container, b"")
        return walls

    def _calc_config(self, plugin: str, bridge: bytes) -> bytes:
        of_bridge = loads(bridge)
        kept = {key: of_bridge[key] for key in ("cniVersion", "name", "prevResult")}
        return dumps({**kept, "type": plugin, **self._chained[plugin]}).encode()


def measure_chain(bed: Bed) -> list[Row]:
    """Measure bridge with NAT, portmap with four ports, bandwidth both ways, firewall and tuning.

    Another container is there all the time. As in a runtime, a plugin is called as soon as the one before has
    answered.
    """
    samples: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    watch = bed.watch()
    chained = _select(bed, _calc_chained(8000))
    with bed.hosts(nat=True) as hosts, namespaces("container", len(hosts) * (bed.pairs + 2)) as containers:
        for host in hosts:
            Chain(host, _select(bed, _calc_chained(9000))).call("ADD", containers.pop())
        chains = [Chain(host, chained) for host in hosts]
        for chain in take_turns(chains, bed.pairs + 1):
            container = containers.pop()
            for verb in _VERBS:
                samples[verb][chain.host.name].append(sum(chain.call(verb, container).values()))
            containers.insert(0, container)  # to be deleted in the end
    return [
        Row(
            f"the chain: {verb}",
            {side: walls[1:] for side, walls in sides.items()},
            targets=find_targets(f"the chain: {verb}"),
            served=watch.calc_share(verb, "bridge", *chained),
        )
        for verb, sides in samples.items()
    ]


def _select(bed: Bed, chained: Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
    """Return the plugins that all suites have."""
    return {plugin: keys for plugin, keys in chained.items() if all(plugin in s.programs for s in bed.suites)}


def measure_many_ports(bed: Bed) -> list[Row]:
    """Measure ADD and DEL of a container that publishes a thousand ports; the reference takes a minute."""
    samples: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _VERBS}
    portmap = {"portmap": _calc_chained(10_000, _MANY)["portmap"]}
    suites = bed.ours if bed.is_quick else bed.suites
    watch = bed.watch()
    with bed.hosts(nat=True) as hosts, namespaces("container", 1) as (container,):
        chains = [Chain(host, portmap) for host in hosts if host.suite in suites]
        slow = [chain for chain in chains if chain.host.suite.is_slow]
        for chain in take_turns(chains, _MANY_TURNS, slow, slow_turns=1):
            for verb, sides in samples.items():
                sides[chain.host.name].append(chain.call(verb, container)["portmap"])
    return [
        Row(f"portmap, {_MANY:,} ports: {verb}", sides, served=watch.calc_share(verb, "bridge", "portmap"))
        for verb, sides in samples.items()
    ]
