"""How many rules a packet of an established connection meets, whether they match or not."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from json import dumps, loads
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, TCP_NODELAY, create_server, socket
from typing import Any

from bench.bed import Bed, Host
from bench.namespace import Namespace, namespaces
from bench.nftrace import PAYLOAD, trace_packet
from bench.process import run
from bench.report import Row, Table
from bench.targets import find_targets
from bench.traffic import OUTSIDE, OUTSIDE6, uplink

_PORT = 7000
_PATIENCE = 5.0
_SWITCHES = {
    version: Path(f"/proc/sys/net/bridge/bridge-nf-call-{program}")
    for version, program in ((4, "iptables"), (6, "ip6tables"))
}
# Forwarding its containers' packets on a host that drops others takes two plugins of the reference.
_WITH_FIREWALL = "reference, bridge and firewall"


def measure_rules(bed: Bed) -> list[Table]:
    """Count them between two containers, and between a container and the outside through NAT.

    With br_netfilter, what stays on the bridge meets iptables' rules as well; without that module there are
    no such rows. All networks have isolation turned off.
    """
    names = [_WITH_FIREWALL if suite.firewall else suite.name for suite in bed.suites]
    table = Table("Rules met by a packet", names)
    counts: dict[str, dict[str, list[float]]] = defaultdict(dict)
    isolating: dict[str, list[float]] = {name: [0] for name in names}
    for is_on in (False, True) if _SWITCHES[4].exists() else (False,):
        for name, suite in zip(names, bed.suites, strict=True):
            with bed.host(suite, nat=True) as host:
                for path, rules in trace_paths(host, is_on):
                    counts[f"{path}, br_netfilter {'on' if is_on else 'off'}"][name] = [len(rules)]
                    isolating[name][0] += sum(map(is_isolating, rules))
    target = find_targets("rules")
    table.rows += [Row(row, samples, "rules", target) for row, samples in counts.items()]
    table.rows.append(Row("of isolation, in all of these", isolating, "rules", target))
    return [table]


def trace_paths(host: Host, is_on: bool, version: int = 4) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name of each path that a packet takes, and the rules that it meets there.

    Args:
        host: a machine whose network has NAT.
        is_on: whether br_netfilter hands over what stays on the bridge.
        version: of IP; with 6, the network has both.
    """
    with ExitStack() as stack:
        client, server = stack.enter_context(namespaces("container", 2))
        if _SWITCHES[version].exists():
            with host.namespace.inside():
                _SWITCHES[version].write_text(str(int(is_on)))
        near_address, far_address = (_attach(host, container, version) for container in (client, server))
        for container in (client, server):
            stack.callback(host.call, "DEL", container)
        outside = stack.enter_context(uplink(host))
        beyond = {4: OUTSIDE, 6: OUTSIDE6}[version]
        for path, peer, address in (("bridged", server, far_address), ("routed", outside, beyond)):
            with _connection(client, peer, address) as (near, far), host.namespace.inside():
                there = trace_packet(near_address, partial(_send, near, far))
                back = trace_packet(address, partial(_send, far, near))
            yield path, there
            yield f"{path}, back", back


def _attach(host: Host, container: Namespace, version: int) -> str:
    """Attach a container and return its address of one family."""
    result = loads(host.call("ADD", container).output)
    if host.suite.firewall:
        env, _ = host.calc_call("ADD", container)
        config = {"cniVersion": "1.0.0", "name": "bench", "type": "firewall", "prevResult": result}
        with host.namespace.inside():
            run([host.suite.firewall], env, dumps(config).encode())
    addresses = [str(ip["address"].partition("/")[0]) for ip in result["ips"]]
    return next(address for address in addresses if (":" in address) == (version == 6))


@contextmanager
def _connection(client: Namespace, server: Namespace, address: str) -> Iterator[tuple[socket, socket]]:
    """Connect two namespaces by TCP, and yield both ends."""
    family = AF_INET6 if ":" in address else AF_INET
    with server.inside():
        listener = create_server((address, _PORT), family=family)
    with client.inside():
        near = socket(family)
    near.settimeout(_PATIENCE)
    listener.settimeout(_PATIENCE)
    with listener, near:
        near.connect((address, _PORT))
        far, _ = listener.accept()
        with far:
            far.settimeout(_PATIENCE)
            for end in (near, far):
                end.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                _send(end, far if end is near else near)  # established in both directions
            yield near, far


def _send(sender: socket, receiver: socket) -> None:
    sender.sendall(bytes(PAYLOAD))
    rest = PAYLOAD
    while rest:
        rest -= len(receiver.recv(rest))


def is_isolating(rule: dict[str, Any]) -> bool:
    """Return whether a rule asks for groups of links, which those of isolated networks have."""
    # The first is iptables', the second nft's.
    return any(word in dumps(rule) for word in ("devgroup", "ifgroup"))
