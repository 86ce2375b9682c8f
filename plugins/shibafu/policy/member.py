"""Containers as policies see them."""

from shibafu.cni.config import Section
from shibafu.policy.pod_identity import find_pod_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shibafu.lean.ip import Address

# The key that turns off the check of addresses.
SPOOF_CHECK_KEY = "ipspoofchk"


class MemberPort:
    """A name that a container gives to one of its ports.

    Args:
        name: the name.
        protocol: TCP, UDP or SCTP.
        port: the number.
    """

    __slots__ = ("name", "port", "protocol")

    def __init__(self, name: str, protocol: str, port: int) -> None:
        self.name = name
        self.protocol = protocol
        self.port = port


class Member:
    """One interface of a container, as policies see it.

    Args:
        namespace: the name of its namespace.
        labels: what policies find it by.
        addresses: of the interface.
        named_ports: ports with names.
        port: its link on the host; empty if that is not known.
        is_checked: whether it may only send from its addresses.
        mac: the interface's hardware address, as text; empty if that is not known.

    Attributes:
        router: where br_netfilter is missing, the hardware address of its bridge, as text: the host's own,
            which it and its neighbours reach each other by; else empty.
    """

    __slots__ = ("addresses", "is_checked", "labels", "mac", "named_ports", "namespace", "port", "router")

    def __init__(
        self,
        namespace: str,
        labels: "Mapping[str, str]",
        addresses: "Sequence[Address]",
        named_ports: "Sequence[MemberPort]" = (),
        port: str = "",
        is_checked: bool = True,
        mac: str = "",
    ) -> None:
        self.namespace = namespace
        self.labels = labels
        self.addresses = addresses
        self.named_ports = named_ports
        self.port = port
        self.is_checked = is_checked
        self.mac = mac
        self.router = ""


def read_member(
    config: "Mapping[str, object]", args: str, addresses: "Sequence[Address]", port: str, mac: str = ""
) -> Member:
    """Return what a container is to policies.

    Args:
        config: the configuration that its plugin was called with.
        args: CNI_ARGS.
        addresses: of the interface.
        port: its link on the host.
        mac: the interface's hardware address, as text.

    Raises:
        CniError: INVALID_CONFIG: its labels are malformed. Without them, it could have connections that a
            policy denies.
    """
    identity = find_pod_identity(config, args)
    ports = [MemberPort(*port) for port in identity.ports]
    is_checked = Section(dict(config), "NetConf").get(SPOOF_CHECK_KEY) is not False
    return Member(identity.namespace, identity.labels, addresses, ports, port, is_checked, mac)
