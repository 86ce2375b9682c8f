"""How to break a container's port and what is inside the container; see breakages.py."""

from netns.breakage import Breakage

_NOT_INTERNAL = "link {name} can reach the host, although its network is internal"
_LISTENS = "interface {name} accepts router advertisements"
_NO_LEASE = "host-local: Failed to find address added by container"
_RENAMED = "An interface that was renamed or moved"
_OTHER_END = "An interface that is not the other end of its port"
_LEASE = "A lease that is another container's"

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
        "inside: ip {family} route del {prefix} && ip {family} route add {prefix} dev {name}",
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
