"""How to break each attribute of an attachment, and what is said of it then.

CHECK and `repair --dry-run` say it in the same words. `repair` mends it; or it is on the list of what cannot
be mended, in docs/operation.md, and it says what to do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import Any

from differential.case import Case
from differential.samples import DUAL, V4, host

# On one of which each breakage is tried.
NETWORKS = (
    Case("gateway", {"isDefaultGateway": True, "promiscMode": True, "mtu": 1400, "ipam": DUAL}),
    Case(
        "nat",
        {
            "isDefaultGateway": True,
            "ipMasq": True,
            "nonMasqueradeCIDRs": ["10.42.0.0/16", "fd42::/48"],
            "macspoofchk": True,
            "ipam": DUAL,
        },
    ),
    Case(
        "nftables",
        {
            "isDefaultGateway": True,
            "ipMasq": True,
            "ipMasqBackend": "nftables",
            "isolate": True,
            "hairpinMode": True,
            "portIsolation": True,
            "ipam": DUAL,
        },
    ),
    Case("isolated", {"isDefaultGateway": True, "isolate": True, "ipam": V4}),
    Case("strict", {"isDefaultGateway": True, "ipMasq": True, "isolate": "strict", "ipam": DUAL}),
    Case("internal", {"internal": True, "ipam": V4}),
    Case("bridged", {"ipam": V4}, setup=(host("sysctl -qw net.bridge.bridge-nf-call-iptables=1"),)),
    Case(
        "uplinks",
        {"uplinks": ["eth1", "eth2"], "ipam": V4},
        setup=tuple(
            host(f"ip link add {name} type veth peer far-{name}; ip link set far-{name} up")
            for name in ("eth1", "eth2")
        ),
    ),
    Case(
        "moved-addresses",
        {"uplinks": ["eth1"], "moveAddresses": True, "ipam": V4},
        setup=(
            host("ip link add eth1 type veth peer far-eth1; ip link set far-eth1 up; ip link set eth1 up"),
            host("ip addr add 198.18.0.5/24 dev eth1; ip route add 198.19.0.0/24 via 198.18.0.1"),
        ),
    ),
    Case("vlan", {"vlan": 100, "vlanTrunk": [{"id": 42}], "isGateway": True, "ipam": DUAL}),
)
# Whose container the reference attaches.
REFERENCE_NETWORK = Case(
    "reference", {"isDefaultGateway": True, "ipMasq": True, "macspoofchk": True, "ipam": DUAL}
)


@dataclass(frozen=True)
class Breakage:
    """One way to break an attribute.

    Args:
        attribute: the resource and the attribute. Each item of a list is broken by itself.
        command: for sh(1), on the host or, where it begins with `inside:`, in the container. In braces are
            the resource's attributes, and what `Breakage.calc_words` adds.
        said: a part of what is said.
        when: attributes that the resource has to have for it; None for one that it is not to have.
        undo: what removes what the command has made; of what cannot be mended, it mends it.
        listed: what the list of what cannot be mended calls it; empty for what can.
        advised: a part of what is to be done about what cannot be mended.
        network: which one of NETWORKS it is tried on.
    """

    attribute: str
    command: str
    said: str
    when: Mapping[str, Any] = field(default_factory=dict)
    undo: str = ""
    listed: str = ""
    advised: str = ""
    network: str = "gateway"

    def __str__(self) -> str:
        return f"{self.attribute}: {self.command}"

    def fits(self, name: str, described: Mapping[str, Any]) -> bool:
        """Return whether a resource can be broken by it."""
        resource, _, attribute = self.attribute.partition(".")
        has_all = all(described.get(key) == value for key, value in self.when.items())
        return name == resource and attribute in described and has_all

    def calc_words(self, described: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield what stands for the words in braces, once for each item of the attribute.

        Of an address or the destination of a route: `address`, and its `prefix`; `family` and `iptables` as
        options and programs call the family, and `other`, another address of the subnet.
        """
        value = described[self.attribute.partition(".")[2]]
        for item in value if isinstance(value, list) else [value]:
            filled = {**words, **described, "item": item}
            if isinstance(item, dict):
                filled |= item
            if "{gw}" in self.said and "gw" not in filled:
                continue  # a route that says of no gateway
            try:
                address = ip_interface(str(filled.get("dst", item)))
            except ValueError:
                yield filled
                continue
            is_v6 = address.version == 6
            filled |= {
                "address": str(address.ip),
                "prefix": str(address.network),
                "family": f"-{address.version}",
            }
            filled |= {"other": f"{address.ip + 77}/{address.network.prefixlen}"}
            yield filled | {"iptables": "ip6tables" if is_v6 else "iptables"}


_IPTABLES, _NFTABLES = {"backend": "iptables"}, {"backend": "nftables"}
_ISOLATED, _STRICT = {"isolate": True}, {"isolate": "strict"}
_MISSING = "firewall rules of network {network} are missing"
_MIXED = "firewall rules of network {network} contain other rules or are out of order"
_UNCHECKED = "the MAC spoof check of port {port} is missing"
_NO_HOST_RULES = "the rules that keep internal network {network} from the host are missing"
_NOT_CLOSED = "bridge {name} is not closed to its containers, although its network is internal"
_NOT_INTERNAL = "link {name} can reach the host, although its network is internal"
_LISTENS = "interface {name} accepts router advertisements"
_NO_LEASE = "host-local: Failed to find address added by container"
_ELSEWHERE = "the host routes {item} via lo, not via {link}"

# The list of docs/operation.md.
_IN_THE_WAY = "An address that conflicts with the gateway's"
_ROUTE = "A route or a routing rule of others"
_KIND = "Another kind of link"
_GROUP = "A bridge with an interface group of somebody else's"
_RENAMED = "An interface that was renamed or moved"
_OTHER_END = "An interface that is not the other end of its port"
_LEASE = "A lease that is another container's"
_DROP = "A chain of others that drops"
_UPLINK = "An uplink that cannot be one"
_DEAD = "Uplinks without a carrier"
_FOREIGN = "Rules that the reference plugins made"

BRIDGE = (
    Breakage("Bridge.name", "ip link del {name}", "bridge {name} is missing"),
    Breakage(
        "Bridge.name",
        "ip link del {name}; ip link add {name} type veth",
        "{name} is not a bridge",
        undo="ip link del {name}",
        listed=_KIND,
    ),
    Breakage("Bridge.state", "ip link set {name} down", "bridge {name} is down"),
    Breakage("Bridge.arp", "ip link set {name} arp off", "bridge {name} does not answer ARP requests"),
    Breakage(
        "Bridge.acceptRA",
        "sysctl -qw net/ipv6/conf/{name}/accept_ra=2",
        "link {name} accepts router advertisements",
    ),
    Breakage(
        "Bridge.mac",
        "ip link set {name} address 02:00:00:00:00:99",
        "bridge {name} has the hardware address 02:00:00:00:00:99, not {mac}",
    ),
    Breakage(
        "Bridge.promiscMode", "ip link set {name} promisc off", "bridge {name} is not in promiscuous mode"
    ),
    Breakage(
        "Gateway.isolate",
        "ip link set {link} group 23323",
        "link {link} is still in the group of isolated networks",
        when={"isolate": False},
    ),
    Breakage(
        "Gateway.isolate",
        "ip link set {link} group 0",
        "link {link} is not in the group of isolated networks",
        when=_ISOLATED,
        network="isolated",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link set {link} group 23323",
        "link {link} is not in the group of strictly isolated networks",
        when=_STRICT,
        network="strict",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link add other up type bridge; ip link add veth0123456789a master other type veth",
        "bridge other of another network is not isolated from this one",
        when=_STRICT,
        undo="ip link del veth0123456789a; ip link del other",
        network="strict",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link add other group 7 up type bridge; ip link add veth0123456789a master other type veth",
        "bridge other of another network is not isolated from this one",
        when=_STRICT,
        undo="ip link del veth0123456789a; ip link del other",
        listed=_GROUP,
        network="strict",
    ),
    Breakage(
        "Bridge.internal", "sysctl -qw net/ipv6/conf/{name}/disable_ipv6=0", _NOT_CLOSED, network="internal"
    ),
    Breakage(
        "Bridge.internal", "sysctl -qw net/ipv4/conf/{name}/rp_filter=0", _NOT_CLOSED, network="internal"
    ),
)

GATEWAY = (
    Breakage("Gateway.link", "ip link del {link}", "{link} is missing"),
    Breakage(
        "Gateway.addresses", "ip addr del {item} dev {link}", "gateway address {item} is missing on {link}"
    ),
    Breakage(
        "Gateway.addresses",
        "ip addr del {item} dev {link}; ip addr add {other} dev {link} nodad",
        "gateway address {item} is missing on {link}: {other} conflicts with it",
        undo="ip addr del {other} dev {link}; ip addr add {item} dev {link} nodad",
        listed=_IN_THE_WAY,
    ),
    Breakage(
        "Gateway.forwarding",
        "sysctl -qw net.{item}.conf.all.forwarding=0",
        "forwarding of IPv{item[3]} is turned off on the host",
    ),
    Breakage(
        "Gateway.forwarding",
        "sysctl -qw net/{item}/conf/{link}/forwarding=0",
        "forwarding of IPv{item[3]} is turned off on {link}",
    ),
    Breakage(
        "Gateway.routes",
        "ip {family} route flush match {item} dev {link}",
        "the host has no route to {item} via {link}",
    ),
    Breakage(
        "Gateway.routes",
        "ip route add {item} dev lo",
        _ELSEWHERE,
        undo="ip route del {item} dev lo",
        listed=_ROUTE,
    ),
    Breakage(
        "Gateway.routes",
        "ip route add blackhole {item}",
        "the host drops packets for {item} instead of routing them via {link}",
        undo="ip route del blackhole {item}",
        listed=_ROUTE,
    ),
    Breakage(
        "Gateway.routes",
        "ip {family} rule add to {item} table 77; ip {family} route add default dev lo table 77",
        _ELSEWHERE,
        undo="ip {family} rule del to {item} table 77; ip {family} route del default dev lo table 77",
        listed=_ROUTE,
    ),
    Breakage(
        "Gateway.acceptRA",
        "sysctl -qw net/ipv6/conf/{link}/accept_ra=2",
        "link {link} accepts router advertisements",
        network="vlan",
    ),
)

PORT = (
    Breakage("Port.name", "ip link del {name}", "link {name} of the host is missing"),
    Breakage("Port.bridge", "ip link set {name} nomaster", "link {name} is not a port of bridge {bridge}"),
    Breakage(
        "Port.bridge",
        "ip link add other type bridge; ip link set {name} master other",
        "link {name} is not a port of bridge {bridge}",
        undo="ip link del other",
    ),
    Breakage(
        "Port.portIsolation",
        "bridge link set dev {name} isolated on",
        "link {name} is isolated from other ports of bridge {bridge}",
        when={"portIsolation": False},
    ),
    Breakage(
        "Port.portIsolation",
        "bridge link set dev {name} isolated off",
        "link {name} is not isolated from other ports of bridge {bridge}",
        when={"portIsolation": True},
        network="nftables",
    ),
    Breakage(
        "Port.hairpinMode",
        "bridge link set dev {name} hairpin off",
        "hairpin mode of link {name} is off",
        network="nftables",
    ),
    Breakage(
        "Port.mtu", "ip link set {name} mtu 1300", "link {name} of the host has an MTU of 1300, not {mtu}"
    ),
    Breakage(
        "Port.internal",
        "ip link set {name} group 23324",
        "link {name} is still cut off from the host",
        when={"internal": False},
    ),
    Breakage(
        "Port.internal",
        "ip link set {name} group 0",
        _NOT_INTERNAL,
        when={"internal": True},
        network="internal",
    ),
    Breakage(
        "Port.internal",
        "ip link set {name} type bridge_slave group_fwd_mask 0",
        _NOT_INTERNAL,
        when={"internal": True},
        network="internal",
    ),
    Breakage(
        "Port.vlan",
        "bridge vlan del vid {vlan} dev {name}",
        "link {name} is not in VLAN {vlan}",
        network="vlan",
    ),
    Breakage(
        "Port.vlan",
        "bridge vlan add vid 77 pvid untagged dev {name}",
        "link {name} has another VLAN than {vlan} for untagged frames",
        network="vlan",
    ),
    Breakage(
        "Port.vlanTrunk",
        "bridge vlan del vid {item} dev {name}",
        "link {name} is not in VLAN {item}",
        network="vlan",
    ),
    Breakage("Carrier.state", "ip link set {port} down", "link {port} of the host is down"),
    Breakage(
        "Carrier.portState",
        "bridge link set dev {port} state 0",
        "port {port} of bridge {bridge} is disabled",
    ),
)

UPLINKS = (
    Breakage(
        "Uplinks.bridge",
        "ip link set eth1 nomaster",
        "no uplink is a port of bridge {bridge}",
        network="uplinks",
    ),
    Breakage(
        "Uplinks.mode",
        "ip link set eth2 master {bridge}",
        "eth1 and eth2 are ports of bridge {bridge} at the same time",
        network="uplinks",
    ),
    Breakage(
        "Uplinks.links",
        "ip link add other type bridge; ip link set eth2 master other",
        "uplink eth2 belongs to other",
        undo="ip link del other",
        listed=_UPLINK,
        network="uplinks",
    ),
    Breakage("Uplinks.state", "ip link set eth2 down", "uplink eth2 is down", network="uplinks"),
    Breakage(
        "Uplinks.state",
        "ip link set far-eth1 down; ip link set far-eth2 down",
        "no uplink of bridge {bridge} has a carrier",
        undo="ip link set far-eth1 up; ip link set far-eth2 up",
        listed=_DEAD,
        network="uplinks",
    ),
    Breakage(
        "Uplinks.arpIgnore",
        "sysctl -qw net/ipv4/conf/eth2/arp_ignore=0",
        "uplink eth2 answers ARP requests for other links",
        network="uplinks",
    ),
    Breakage(
        "Uplinks.moveAddresses",
        "ip addr del 198.18.0.5/24 dev {bridge}",
        "address 198.18.0.5/24, which an uplink had, is missing on bridge {bridge}",
        network="moved-addresses",
    ),
    Breakage(
        "Uplinks.moveAddresses",
        "ip route del 198.19.0.0/24 dev {bridge}",
        "198.19.0.0/24, which led through an uplink, is missing on bridge {bridge}",
        network="moved-addresses",
    ),
    Breakage(
        "Uplinks.acceptRA",
        "sysctl -qw net/ipv6/conf/eth2/accept_ra=2",
        "uplink eth2 accepts router advertisements",
        network="uplinks",
    ),
)

PORT_RULES = (
    Breakage(
        "SpoofCheck.port",
        "nft delete element bridge {table} ports {{ {port} }}",
        _UNCHECKED,
        network="nat",
    ),
    Breakage("SpoofCheck.port", "nft flush ruleset", _UNCHECKED, network="nat"),
    Breakage(
        "SpoofCheck.port", "nft insert rule bridge {table} prerouting accept", _UNCHECKED, network="nat"
    ),
    Breakage(
        "SpoofCheck.mac",
        "nft delete element bridge {table} allowed {{ {port} . {mac} }}",
        _UNCHECKED,
        network="nat",
    ),
    Breakage("InternalIsolation.group", "nft flush ruleset", _NO_HOST_RULES, network="internal"),
    Breakage(
        "InternalIsolation.group",
        "nft insert rule bridge {table}-internal input accept",
        _NO_HOST_RULES,
        network="internal",
    ),
)

INTERFACE = (
    Breakage(
        "ContainerInterface.name",
        "inside: ip link set {name} down; ip link set {name} name away",
        "interface {name} of the container is missing",
        undo="inside: ip link set away name {name}",
        listed=_RENAMED,
    ),
    Breakage(
        "ContainerInterface.name",
        "inside: ip link set {name} down; ip link set {name} name away; ip link add {name} type veth",
        "interface {name} is not the other end of {port}",
        undo="inside: ip link del {name}; ip link set away name {name}",
        listed=_OTHER_END,
    ),
    Breakage(
        "ContainerInterface.state",
        "inside: ip link set {name} down",
        "interface {name} of the container is down",
    ),
    Breakage(
        "ContainerInterface.arp", "inside: ip link set {name} arp off", "interface {name} does not answer ARP"
    ),
    Breakage(
        "ContainerInterface.mac",
        "inside: ip link set {name} address 02:00:00:00:00:98",
        "interface {name} has the hardware address 02:00:00:00:00:98, not {mac}",
    ),
    Breakage(
        "ContainerInterface.mtu",
        "inside: ip link set {name} mtu 65000",
        "interface {name} has an MTU of 65000, which is more than {mtu}",
    ),
    Breakage(
        "ContainerInterface.name",
        "inside: ip link set {name} mtu 65000",
        "interface {name} has an MTU of 65000, which is more than 1500",
        when={"mtu": None},
        network="nat",
    ),
    Breakage(
        "ContainerInterface.name",
        "ip link set {port} mtu 1300",
        "interface {name} has an MTU of 1500, which is more than 1300",
        when={"mtu": None},
        network="nat",
    ),
    Breakage(
        "ContainerInterface.addresses",
        "inside: ip addr del {item} dev {name}",
        "address {item} is missing on {name}",
    ),
    Breakage(
        "ContainerInterface.addresses",
        "inside: ip {family} route del {prefix} dev {name}",
        "route to {prefix} is missing in the container",
        when={"state": "up"},
    ),
    Breakage(
        "ContainerInterface.addresses",
        "inside: ip {family} route flush match {address} dev {name}",
        "route to {prefix} is missing in the container",
        when={"state": "up"},
    ),
    Breakage(
        "ContainerInterface.routes",
        "inside: ip {family} route del {prefix}",
        "route to {dst} is missing in the container",
    ),
    Breakage(
        "ContainerInterface.routes",
        "inside: ip {family} route replace {prefix} dev {name}",
        "route to {dst} does not lead to {gw} in the container",
    ),
    Breakage("ContainerInterface.acceptRA", "inside: sysctl -qw net/ipv6/conf/{name}/accept_ra=1", _LISTENS),
    Breakage("ContainerInterface.acceptRA", "inside: sysctl -qw net/ipv6/conf/{name}/autoconf=1", _LISTENS),
    Breakage("AddressLease.addresses", "rm {store}/networks/{network}/{address}", _NO_LEASE),
    Breakage(
        "AddressLease.addresses",
        "cd {store}/networks/{network}; mv {address} /run/kept; printf 'other\\r\\neth0' > {address}",
        _NO_LEASE,
        undo="mv /run/kept {store}/networks/{network}/{address}",
        listed=_LEASE,
        advised="{address} is now leased to container other: disconnect container c1 and connect it again",
    ),
    Breakage(
        "AddressLease.addresses",
        "cd {store}/networks/{network}; mv {address} /run/kept; "
        "printf 'shibafu.reserved\\r\\nprinter' > {address}",
        _NO_LEASE,
        undo="mv /run/kept {store}/networks/{network}/{address}",
        listed=_LEASE,
        advised="{address} is now reserved: disconnect container c1 and connect it again",
    ),
)

RULES = (
    Breakage("Rules.backend", "iptables -F; ip6tables -F", _MISSING, when=_IPTABLES, network="nat"),
    Breakage("Rules.backend", "nft delete table inet {table}", _MISSING, when=_NFTABLES, network="nftables"),
    Breakage(
        "Rules.links",
        "iptables -t mangle -F PREROUTING; ip6tables -t mangle -F PREROUTING",
        _MISSING,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.links", "nft flush chain inet {table} prerouting", _MISSING, when=_NFTABLES, network="nftables"
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -I {chain} -i {links[0]} -j ACCEPT",
        _MIXED,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -N DOCKER-USER; {iptables} -A FORWARD -j DOCKER-USER",
        "firewall rules of network {network} come before those of chain DOCKER-USER",
        when=_IPTABLES,
        undo="{iptables} -D FORWARD -j DOCKER-USER; {iptables} -X DOCKER-USER",
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -t nat -F {chain}",
        _MISSING,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.ipMasq",
        "iptables -t nat -F POSTROUTING; ip6tables -t nat -F POSTROUTING",
        _MISSING,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.ipMasq",
        "nft flush chain inet {table} postrouting",
        _MISSING,
        when=_NFTABLES | {"ipMasq": True},
        network="nftables",
    ),
    Breakage(
        "Rules.nonMasqueradeCIDRs",
        "{iptables} -t nat -D {chain} -d {item} -j RETURN",
        _MISSING,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -t nat -I {chain} 2 -j RETURN",
        _MIXED,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.isolate",
        """sed -i 's/"isolated": false/"isolated": true/' /run/shibafu/*/{network}/firewall""",
        "firewall rules still isolate network {network}",
        when={"isolate": False},
        network="nat",
    ),
    Breakage(
        "Rules.isolate", "iptables -F {chain}", _MISSING, when=_IPTABLES | _ISOLATED, network="isolated"
    ),
    Breakage(
        "Rules.isolate",
        "nft flush chain inet {table} forward",
        _MISSING,
        when=_NFTABLES | _ISOLATED,
        network="nftables",
    ),
    Breakage(
        "Rules.isolate",
        "iptables -t mangle -F {chain}-S",
        _MISSING,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage(
        "Rules.isolate",
        "ip6tables -t mangle -D FORWARD 1",
        _MISSING,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage(
        "Rules.isolate",
        "iptables -t mangle -I {chain}-S -j ACCEPT",
        _MIXED,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage("Rules.bridged", "iptables -F {chain}", _MISSING, when=_IPTABLES, network="bridged"),
    *(
        Breakage(
            attribute,
            "nft add table inet admin; nft add chain inet admin forward "
            "'{{ type filter hook forward priority 0; policy drop; }}'",
            "chain forward of table inet admin drops",
            when={"ipMasq": True},
            undo="nft delete table inet admin",
            listed=_DROP,
            network="nat",
        )
        for attribute in ("ForeignDrops.subnets", "ForeignDrops.ipMasq")
    ),
)

# Of a container that the reference attached.
FOREIGN = (
    Breakage(
        "ReferenceSpoofCheck.port",
        "nft list ruleset bridge > /run/kept; nft flush ruleset bridge",
        _UNCHECKED,
        undo="nft -f /run/kept",
        listed=_FOREIGN,
        network="reference",
    ),
    Breakage(
        "ReferenceRules.subnets",
        "{iptables}-save > /run/kept; {iptables} -t nat -F",
        _MISSING,
        undo="{iptables}-restore < /run/kept",
        listed=_FOREIGN,
        network="reference",
    ),
)
_SHARED = ("Port.bridge", "Carrier.state", "ContainerInterface.routes", "AddressLease.addresses")

BREAKAGES = (
    *(BRIDGE + GATEWAY + UPLINKS + PORT + PORT_RULES + INTERFACE + RULES + FOREIGN),
    *(replace(one, network="reference") for one in PORT + INTERFACE if one.attribute in _SHARED),
)
