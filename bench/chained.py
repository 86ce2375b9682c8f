"""ADD, CHECK and DEL of plugins that come after the bridge plugin in a chain, each by itself."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from json import dumps

from bench.bed import Bed, settle, take_turns
from bench.namespace import Namespace
from bench.report import Row
from bench.suite import Suite
from bench.targets import find_targets
from shibafu.netlink.link import link_by_name
from shibafu.netlink.link_requests import link_add_veth, link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.traffic_control import qdisc_del_ingress, qdisc_del_tbf

_VERBS = ("ADD", "CHECK", "DEL")
# Of portmap, the reference's CHECK looks for the rules of each family in the tables of both, and fails.
_WITHOUT_CHECK = ("portmap",)
_HOST_LINK = "veth0"
# What a chain typically asks each of them for.
_KEYS: Mapping[str, Mapping[str, object]] = {
    "bandwidth": {
        "ingressRate": 100_000_000,
        "ingressBurst": 5_000_000,
        "egressRate": 100_000_000,
        "egressBurst": 5_000_000,
    },
    # Else it would ask the host's D-Bus for firewalld.
    "firewall": {"backend": "iptables"},
    "loopback": {},
    "portmap": {
        "runtimeConfig": {
            "portMappings": [
                {"hostPort": 8080 + number, "containerPort": 80 + number, "protocol": protocol}
                for number, protocol in enumerate(("tcp", "tcp", "tcp", "udp"))
            ]
        }
    },
    "tuning": {"mac": "02:00:00:00:00:05", "mtu": 1400, "sysctl": {"net.core.somaxconn": "4096"}},
}


@dataclass(frozen=True)
class Attached:
    """A host, and a container on it that a bridge plugin has attached.

    Args:
        suite: the plugins that are called on this host.
        host: its namespace.
        container: the container's.
    """

    suite: Suite
    host: Namespace
    container: Namespace

    def measure(self, plugin: str, verb: str) -> float:
        """Do a call and return how many milliseconds it took.

        Raises:
            Failed: it answered with an error.
        """
        interfaces = [{"name": _HOST_LINK}, {"name": "eth0", "sandbox": self.container.path}]
        addresses = {"10.64.0.2/16": "10.64.0.1", "fd00:64::2/64": "fd00:64::1"}
        ips = [{"interface": 1, "address": own, "gateway": gateway} for own, gateway in addresses.items()]
        config: dict[str, object] = {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": plugin,
            "prevResult": {"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips},
        }
        config |= _KEYS[plugin]
        settle()
        with self.host.inside():
            return self.suite.call(
                plugin, verb, dumps(config).encode(), self.container.name, self.container.path
            ).wall

    def tidy(self) -> None:
        """Remove what the reference's bandwidth leaves at the container's link: its ADD fails on that."""
        with self.host.inside(), NetlinkSocket() as sock:
            link = link_by_name(sock, _HOST_LINK)
            if link is not None:
                sock.request_all([qdisc_del_tbf(link.index), qdisc_del_ingress(link.index)])


def measure_chained(bed: Bed, plugin: str) -> list[Row]:
    """Measure the calls of a container that stays, over and over.

    Args:
        bed: the suites.
        plugin: the reference's name of the plugin.
    """
    verbs = [verb for verb in _VERBS if verb != "CHECK" or plugin not in _WITHOUT_CHECK]
    samples: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in verbs}
    watch = bed.watch()
    with ExitStack() as stack:
        attached = [stack.enter_context(_attach(suite)) for suite in bed.suites]
        for one in take_turns(attached, bed.pairs + 1):
            for verb in verbs:
                samples[verb][one.suite.name].append(one.measure(plugin, verb))
            one.tidy()
    return [
        Row(
            f"{plugin}: {verb}",
            # The first turn warms caches up.
            {side: walls[1:] for side, walls in samples[verb].items()},
            targets=find_targets(f"{plugin}: {verb}"),
            served=watch.calc_share(verb, plugin),
        )
        for verb in verbs
    ]


@contextmanager
def _attach(suite: Suite) -> Iterator[Attached]:
    with Namespace("host") as host, Namespace("container") as container:
        netns = os.open(container.path, os.O_RDONLY | os.O_CLOEXEC)
        with host.inside(), NetlinkSocket() as sock:
            sock.request(link_add_veth(_HOST_LINK, "eth0", netns))
        os.close(netns)
        with container.inside(), NetlinkSocket() as sock:
            sock.request(link_set("eth0", up=True))
        yield Attached(suite, host, container)
