"""Podman's own network tool, netavark, as a further peer: the same network, with NAT."""

from collections import defaultdict
from contextlib import ExitStack
from json import dumps

from bench.bed import Bed, settle, take_turns
from bench.namespace import Namespace, namespaces
from bench.process import run
from bench.report import Row, Table

_NETAVARK = "/usr/lib/podman/netavark"
# Otherwise it asks D-Bus for firewalld.
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NETAVARK_FW": "iptables"}
_THEIRS = "netavark"
# Its commands, by the verbs.
_NAMES = {"ADD": "setup", "DEL": "teardown"}


def measure_netavark(bed: Bed) -> list[Table]:
    """Measure attaching and detaching the only container of a network."""
    config_dir = bed.work / "netavark"
    config_dir.mkdir()
    samples: dict[str, dict[str, list[float]]] = {verb: defaultdict(list) for verb in _NAMES}
    watch = bed.watch()
    with ExitStack() as stack:
        hosts = [stack.enter_context(bed.host(suite, nat=True)) for suite in bed.ours]
        other = stack.enter_context(Namespace("host"))
        number = (len(hosts) + 1) * (bed.pairs + 1)
        containers = stack.enter_context(namespaces("container", number))
        with other.inside():
            # It takes a machine's forwarding for granted, and has no command to make a bridge alone.
            run(["/usr/sbin/ip", "link", "set", "lo", "up"])
        for host in take_turns((*hosts, None), bed.pairs + 1):
            container = containers.pop()
            for verb, name in _NAMES.items():
                if host:
                    samples[verb][host.name].append(host.call(verb, container).wall)
                else:
                    settle()
                    with other.inside():
                        argv = [_NETAVARK, "--config", str(config_dir), name, container.path]
                        samples[verb][_THEIRS].append(run(argv, _ENV, _calc_options()).wall)
            containers.insert(0, container)  # to be deleted in the end
    table = Table("Against netavark", (*(host.name for host in hosts), _THEIRS))
    for verb, name in _NAMES.items():
        walls = {side: values[1:] for side, values in samples[verb].items()}
        table.rows.append(Row(f"NAT: {verb}, {name}", walls, served=watch.calc_share(verb, "bridge")))
    return [table]


def _calc_options() -> bytes:
    """Return what Podman gives to netavark; the address is Podman's to choose."""
    network = {
        "name": "bench",
        "id": "b" * 64,
        "driver": "bridge",
        "network_interface": "bench0",
        "subnets": [{"subnet": "10.64.0.0/16", "gateway": "10.64.0.1"}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }
    options = {
        "container_id": "c" * 64,
        "container_name": "measured",
        "networks": {"bench": {"static_ips": ["10.64.0.2"], "interface_name": "eth0"}},
        "network_info": {"bench": network},
    }
    return dumps(options).encode()
