"""Podman's own network tool, netavark, as a further peer: the same network, with NAT."""

from collections import defaultdict
from json import dumps

from bench.bed import Bed, settle, take_turns
from bench.namespace import Namespace, namespaces
from bench.process import run
from bench.report import Row, Table

_NETAVARK = "/usr/lib/podman/netavark"
# Otherwise it asks D-Bus for firewalld.
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NETAVARK_FW": "iptables"}
_OURS, _THEIRS = "shibafu", "netavark"


def measure_netavark(bed: Bed) -> list[Table]:
    """Measure attaching and detaching the only container of a network."""
    config_dir = bed.work / "netavark"
    config_dir.mkdir()
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    with (
        bed.host(bed.ours, nat=True) as host,
        Namespace("host") as other,
        namespaces("container", 2 * bed.pairs + 2) as containers,
    ):
        with other.inside():
            # It takes a machine's forwarding for granted, and has no command to make a bridge alone.
            run(["/usr/sbin/ip", "link", "set", "lo", "up"])
        for side in take_turns((_OURS, _THEIRS), bed.pairs + 1):
            container = containers.pop()
            for ours, theirs in (("ADD", "setup"), ("DEL", "teardown")):
                if side == _OURS:
                    wall = host.call(ours, container).wall
                else:
                    settle()
                    with other.inside():
                        argv = [_NETAVARK, "--config", str(config_dir), theirs, container.path]
                        wall = run(argv, _ENV, _calc_options()).wall
                samples[side, ours].append(wall)
            containers.insert(0, container)  # to be deleted in the end
    names = {"ADD": "NAT: ADD, setup", "DEL": "NAT: DEL, teardown"}
    rows = [Row(name, samples[_OURS, verb][1:], samples[_THEIRS, verb][1:]) for verb, name in names.items()]
    return [Table("Against netavark", _OURS, _THEIRS, rows)]


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
