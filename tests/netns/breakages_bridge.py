"""How to break a bridge, its gateway and its uplinks; see breakages.py."""

from netns.breakage import Breakage

_NOT_CLOSED = "bridge {name} is not closed to its containers, although its network is internal"
_ELSEWHERE = "the host routes {item} via lo, not via {link}"

# The list of docs/operation.md.
_IN_THE_WAY = "An address that conflicts with the gateway's"
_ROUTE = "A route or a routing rule of others"
_KIND = "Another kind of link"
_GROUP = "A bridge with an interface group of somebody else's"
_UPLINK = "An uplink that cannot be one"
_DEAD = "Uplinks without a carrier"

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
        when={"isolate": True},
        network="isolated",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link set {link} group 23323",
        "link {link} is not in the group of strictly isolated networks",
        when={"isolate": "strict"},
        network="strict",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link add other up type bridge; ip link add veth0123456789a master other type veth",
        "bridge other of another network is not isolated from this one",
        when={"isolate": "strict"},
        undo="ip link del veth0123456789a; ip link del other",
        network="strict",
    ),
    Breakage(
        "Gateway.isolate",
        "ip link add other group 7 up type bridge; ip link add veth0123456789a master other type veth",
        "bridge other of another network is not isolated from this one",
        when={"isolate": "strict"},
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
