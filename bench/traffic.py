"""What passes through the networks, once they are made: both suites ask the kernel for the same."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from json import loads
from time import sleep

from bench.bed import Bed, Host, take_turns
from bench.namespace import Namespace, namespaces
from bench.process import Failed, Started, run
from bench.report import Row

IPERF = "/usr/bin/iperf3"
IP = "/usr/sbin/ip"
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_TURNS = 11
_QUICK_TURNS = 2
_SECONDS = "1"
# For documentation only (RFC 5737, RFC 3849): reached through the host's namespace, which the bench made.
_UPLINKS = ("192.0.2.1/24", "2001:db8::1/64")
OUTSIDE, OUTSIDE6 = "192.0.2.2", "2001:db8::2"
# An address that is used at once; of IPv4, each is.
_SETTLED = ("nodad",)
# iperf3's, and the state, as /proc/net/tcp6 has them.
_PORT, _LISTENING = ":1451", "0A"


def measure_traffic(bed: Bed) -> list[Row]:
    """Measure TCP between two containers, and from a container to the outside through NAT."""
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = ("iperf3 between containers", "iperf3 through NAT")
    with bed.hosts(nat=True) as hosts, namespaces("container", 2 * len(hosts)) as containers:
        servers = {}
        for host in hosts:
            client, server = containers.pop(0), containers.pop(0)
            host.call("ADD", client)
            answer = loads(host.call("ADD", server).output)
            servers[host] = (client, server, answer["ips"][0]["address"].partition("/")[0])
        for host in take_turns(hosts, calc_turns(bed)):
            client, server, address = servers[host]
            samples[names[0]][host.name].append(measure_flow(client, server, address))
            with uplink(host) as outside:
                samples[names[1]][host.name].append(measure_flow(client, outside, OUTSIDE))
    return [Row(name, samples[name], "Gbit/s") for name in names]


def calc_turns(bed: Bed) -> int:
    """Return how often a flow is measured."""
    return _QUICK_TURNS if bed.is_quick else _TURNS


@contextmanager
def uplink(host: Host) -> Iterator[Namespace]:
    """Give the host a way out, to a namespace that knows nothing of the containers' addresses."""
    with Namespace("outside") as outside:
        with host.namespace.inside():
            run([IP, "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", outside.path])
            for address in _UPLINKS:
                run([IP, "address", "add", address, "dev", "up0", *_SETTLED])
            run([IP, "link", "set", "up0", "up"])
        with outside.inside():
            for address in (f"{OUTSIDE}/24", f"{OUTSIDE6}/64"):
                run([IP, "address", "add", address, "dev", "up0", *_SETTLED])
            run([IP, "link", "set", "up0", "up"])
        try:
            yield outside
        finally:
            with host.namespace.inside():
                run([IP, "link", "delete", "up0"])


def measure_flow(client: Namespace, server: Namespace, address: str, options: tuple[str, ...] = ()) -> float:
    """Return what a server receives from a client, in Gbit/s.

    Args:
        client: where it is sent.
        server: where it arrives.
        address: the server's.
        options: further options of the client, iperf3(1).
    """
    with server.inside():
        serving = Started([IPERF, "--server", "--one-off"], _ENV)
        while not _is_listening():
            sleep(0.01)
    command = [
        IPERF,
        "--client",
        address,
        "--time",
        _SECONDS,
        "--json",
        "--connect-timeout",
        "2000",
        *options,
    ]
    with client.inside():
        flow = parse_flow(run(command, _ENV).output.decode())
    serving.wait()
    return flow


def parse_flow(report: str) -> float:
    """Return what a server has received, in Gbit/s, out of the client's report.

    Raises:
        Failed: it reports an error.
    """
    answer = loads(report)
    if "error" in answer:
        raise Failed(f"iperf3: {answer['error']}")
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9


def _is_listening() -> bool:
    """Return whether a server waits for connections in the namespace that this process is in, proc(5)."""
    with open("/proc/self/net/tcp6", encoding="ascii") as file:
        sockets = [line.split() for line in file][1:]
    return any(local.endswith(_PORT) and state == _LISTENING for _, local, _, state, *_ in sockets)
