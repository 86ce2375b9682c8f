"""How to break each attribute of an attachment, and what is said of it then.

CHECK and `repair --dry-run` say it in the same words. `repair` mends it; or it is on the list of what cannot
be mended, in docs/operation.md, and it says what to do.
"""

from dataclasses import replace

from differential.case import Case
from differential.samples import DUAL, V4, host
from netns.breakages_bridge import BRIDGE, GATEWAY, UPLINKS
from netns.breakages_container import INTERFACE, PORT
from netns.breakages_rules import FOREIGN, PORT_RULES, RULES

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


_SHARED = ("Port.bridge", "Carrier.state", "ContainerInterface.routes", "AddressLease.addresses")

BREAKAGES = (
    *(BRIDGE + GATEWAY + UPLINKS + PORT + PORT_RULES + INTERFACE + RULES + FOREIGN),
    *(replace(one, network="reference") for one in PORT + INTERFACE if one.attribute in _SHARED),
)
