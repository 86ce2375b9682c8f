"""Ending connections that were opened before policies denied them."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from shibafu.netlink.conntrack import NETLINK_NETFILTER, Flow, flow_del, flow_list, has_flows
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkSocket
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import open_kernel
from shibafu.networks.policy_pods import list_pods
from shibafu.policy.cut_table import Conversation, can_be_kept_ended, refuse_packets
from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.model import Address, Pod, PolicySet

_PROTOCOLS = {
    socket.IPPROTO_TCP: "TCP",
    socket.IPPROTO_UDP: "UDP",
    socket.IPPROTO_SCTP: "SCTP",
    socket.IPPROTO_ICMP: "ICMP",
    socket.IPPROTO_ICMPV6: "ICMP",
}
_WITH_PORTS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True)
class CutConnection:
    """A connection that was ended.

    Args:
        protocol: such as `tcp`; a number where it has no name here.
        source: who had opened it.
        destination: who answered, after any translation.
        port: of the destination; None for a protocol without ports.
    """

    protocol: str
    source: Address
    destination: Address
    port: int | None

    def __str__(self) -> str:
        service = self.protocol if self.port is None else f"{self.protocol}/{self.port}"
        return f"{self.source} to {self.destination}, {service}"


def cut_connections(policies: PolicySet) -> list[CutConnection]:
    """End all connections of the host's containers that policies deny, whenever they were opened.

    The policies have to be enforced already.

    Raises:
        CommandError: the kernel does not list its connections.
        CniError: nft is not installed, or refuses.
    """
    if not has_flows():
        return []
    try:
        with NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
            found = list(_find_denied(sock, policies))
            # Nothing of them gets through in between.
            kept = [one for flow, _ in found if (one := _make_conversation(flow)) is not None]
            if kept:
                refuse_packets(kept, os.environ)
            flow_del(sock, [flow for flow, _ in found])
    except NetlinkError as error:
        raise CommandError(f"cannot end connections: {error}", "the policies are applied") from None
    return [cut for _, cut in found]


def _find_denied(sock: NetlinkSocket, policies: PolicySet) -> Iterator[tuple[Flow, CutConnection]]:
    pods: dict[Address, list[Pod]] = {}
    for pod in list_pods():
        for address in pod.addresses:
            pods.setdefault(address, []).append(pod)
    with open_kernel() as kernel:
        own = {one.ip for found in kernel.addresses().values() for one in found}

    def list_endpoints(address: Address) -> list[PolicyEndpoint]:
        is_host = address in own or address.is_loopback
        return [PolicyEndpoint(address, pod, is_host) for pod in pods.get(address, [None])]

    for family in (socket.AF_INET, socket.AF_INET6):
        for flow in flow_list(sock, family):
            source, destination = ip_address(flow.source), ip_address(flow.answerer)
            if source not in pods and destination not in pods:
                continue
            protocol = _PROTOCOLS.get(flow.protocol, str(flow.protocol))
            port = flow.answerer_port if protocol in _WITH_PORTS else None
            service = Service(protocol, port)
            # Of containers with the same address, what the policies of any deny is denied.
            decisions = (
                evaluate(policies, one, other, service)
                for one in list_endpoints(source)
                for other in list_endpoints(destination)
            )
            if not all(decision.is_allowed for decision in decisions):
                yield flow, CutConnection(protocol.lower(), source, destination, port)


def _make_conversation(flow: Flow) -> Conversation | None:
    """Return a connection for the rules that keep it ended; None if there are none for its protocol."""
    protocol = _PROTOCOLS.get(flow.protocol, "").lower()
    if not can_be_kept_ended(protocol):
        return None
    ends = [
        (str(ip_address(address)), port)
        for address, port in ((flow.source, flow.source_port), (flow.answerer, flow.answerer_port))
    ]
    return Conversation(4 if flow.family == socket.AF_INET else 6, protocol, *ends)
