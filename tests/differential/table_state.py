"""What is there before ADD, more than one container, and what is damaged before CHECK."""

from differential.case import Call, Case
from differential.samples import (
    DUAL,
    ONE,
    R4,
    V4,
    V6,
    adds,
    bridge_with,
    damaged,
    host,
    inside,
    ipam,
    lease,
    port,
)

_GATEWAY = {"isGateway": True, "ipam": V4}
_GATEWAY6 = {"isGateway": True, "ipam": V6}
_NAT = {"isDefaultGateway": True, "ipMasq": True, "ipam": V4}
_DUAL_NAT = {"isDefaultGateway": True, "ipMasq": True, "ipam": DUAL}
_FORCE = {"forceAddress": True}
_OTHER_NETWORK = {"name": "other", "ipam": ipam({"subnet": "10.2.0.0/24"})}

BRIDGE = (
    Case("bridge-there", _GATEWAY, setup=bridge_with()),
    Case("bridge-there-layer-2", {}, setup=bridge_with()),
    Case("bridge-there-down", _GATEWAY, setup=(*bridge_with(), host("ip link set cni0 down"))),
    Case(
        "bridge-there-other-mtu",
        _GATEWAY | {"mtu": 1400},
        setup=(*bridge_with(), host("ip link set cni0 mtu 1300")),
    ),
    Case("bridge-there-promiscuous-mode", {"promiscMode": True, "ipam": V4}, setup=bridge_with()),
    Case(
        "bridge-there-with-ports",
        _GATEWAY,
        setup=(
            *bridge_with(),
            host("ip link add port0 type veth peer name port1; ip link set port1 up"),
            host("ip link set port0 master cni0 up"),
        ),
    ),
    Case("bridge-has-gateway", _GATEWAY, setup=bridge_with("10.1.0.1/24")),
    Case("bridge-has-gateway-other-prefix", _GATEWAY, setup=bridge_with("10.1.0.1/16")),
    Case("bridge-has-other-subnet", _GATEWAY, setup=bridge_with("10.9.0.1/24")),
    Case("bridge-has-other-address", _GATEWAY, setup=bridge_with("10.1.0.200/24")),
    Case("bridge-has-gateway-and-other", _GATEWAY, setup=bridge_with("10.1.0.1/24", "10.9.0.1/24")),
    Case("bridge-has-other-address-force", _GATEWAY | _FORCE, setup=bridge_with("10.9.0.1/24")),
    Case("bridge-has-two-others-force", _GATEWAY | _FORCE, setup=bridge_with("10.8.0.1/24", "10.9.0.1/24")),
    Case("bridge-has-gateway-force", _GATEWAY | _FORCE, setup=bridge_with("10.1.0.1/24")),
    Case("bridge-has-other-address-no-gateway", {"ipam": V4}, setup=bridge_with("10.9.0.1/24")),
    Case("bridge-has-ipv6-address-of-other-subnet", _GATEWAY6, setup=bridge_with("fd00:9::1/64")),
    Case("bridge-has-ipv6-address-of-same-subnet", _GATEWAY6, setup=bridge_with("fd00:1::9/64")),
    Case(
        "bridge-has-ipv6-address-of-same-subnet-force", _GATEWAY6 | _FORCE, setup=bridge_with("fd00:1::9/64")
    ),
    Case("bridge-has-ipv4-address-ipv6-network", _GATEWAY6, setup=bridge_with("10.9.0.1/24")),
    Case("bridge-force-without-conflict", _GATEWAY | _FORCE),
    Case(
        "bridge-address-with-new-port",
        {},
        calls=(
            Call("ADD"),
            Call(
                "ADD",
                "c2",
                before=(
                    host("ip link add port0 address 02:00:00:00:00:01 type veth peer name port1"),
                    host("ip link set port0 master cni0 up"),
                ),
            ),
        ),
    ),
    Case("bridge-is-tunnel", _GATEWAY, setup=(host("ip tuntap add cni0 mode tap"),)),
    Case("bridge-is-veth", {}, setup=(host("ip link add cni0 type veth peer name cni1"),)),
    Case(
        "conflict-then-retry-with-force",
        _GATEWAY,
        setup=bridge_with("10.9.0.1/24"),
        calls=(
            Call("ADD"),
            Call("ADD", config=_FORCE),
            Call("CHECK"),
            Call("DEL"),
        ),
    ),
)

CONTAINER = (
    Case("ifname-is-bridge", _GATEWAY, setup=(inside("ip link add eth0 type bridge"),)),
    Case("ifname-is-veth", {}, setup=(inside("ip link add eth0 type veth peer name eth9"),)),
    Case("added-twice", _GATEWAY, calls=(*adds("c1", "c1"), Call("CHECK"), Call("DEL"))),
    Case("lo-is-left-alone", {"ipam": V4}, setup=(inside("ip link set lo up"),)),
    Case(
        "address-elsewhere-in-container",
        _GATEWAY,
        setup=(
            inside("ip link add eth1 type bridge; ip addr add 10.1.0.2/24 dev eth1; ip link set eth1 up"),
        ),
    ),
    Case(
        "default-route-elsewhere-in-container",
        _NAT,
        setup=(
            inside(
                "ip link add eth1 type bridge; ip addr add 10.5.0.2/24 dev eth1; ip link set eth1 up;"
                "ip route add default via 10.5.0.1"
            ),
        ),
    ),
    Case(
        "two-interfaces",
        _GATEWAY,
        calls=(
            Call("ADD"),
            Call("ADD", ifname="eth1"),
            Call("CHECK"),
            Call("CHECK", ifname="eth1"),
            Call("DEL"),
            Call("CHECK", ifname="eth1"),
            Call("DEL", ifname="eth1"),
        ),
    ),
    Case(
        "two-interfaces-masquerade",
        _GATEWAY | {"ipMasq": True},
        calls=(
            Call("ADD"),
            Call("ADD", ifname="eth1"),
            Call("DEL"),
            Call("CHECK", ifname="eth1"),
            Call("DEL", ifname="eth1"),
        ),
    ),
    Case(
        "two-interfaces-two-networks",
        _NAT,
        calls=(
            Call("ADD"),
            Call("ADD", ifname="eth1", config=_OTHER_NETWORK | {"bridge": "cni1", "isDefaultGateway": None}),
            Call("CHECK"),
            Call("DEL", ifname="eth1", config=_OTHER_NETWORK | {"bridge": "cni1"}),
            Call("DEL"),
        ),
    ),
    Case(
        "two-default-routes",
        _NAT,
        calls=(
            Call("ADD"),
            Call("ADD", ifname="eth1", config=_OTHER_NETWORK | {"bridge": "cni1"}),
            Call("CHECK"),
            Call("DEL", ifname="eth1", config=_OTHER_NETWORK | {"bridge": "cni1"}),
            Call("DEL"),
        ),
    ),
    Case(
        "two-networks-one-bridge",
        _GATEWAY,
        calls=(
            Call("ADD"),
            Call("ADD", "c2", config=_OTHER_NETWORK),
            Call("DEL", "c2", config=_OTHER_NETWORK),
            Call("DEL"),
        ),
    ),
    Case(
        "two-networks-one-bridge-layer-2",
        {},
        calls=(
            Call("ADD"),
            Call("ADD", "c2", config={"name": "other"}),
            Call("DEL"),
            Call("DEL", "c2", config={"name": "other"}),
        ),
    ),
    Case("del-of-other-network", _GATEWAY, calls=(Call("ADD"), Call("DEL", config=_OTHER_NETWORK))),
    Case(
        "three-containers",
        _GATEWAY,
        calls=(
            *adds("c1", "c2", "c3"),
            Call("CHECK", "c2"),
            Call("DEL"),
            Call("DEL", "c2"),
            Call("DEL", "c3"),
        ),
    ),
    Case(
        "renamed-inside",
        _GATEWAY,
        calls=(
            Call("ADD"),
            Call("DEL", before=(inside("ip link set eth0 down; ip link set eth0 name eth5"),)),
        ),
    ),
)

FAILED_ADD = (
    Case("exhausted", {"isGateway": True, "ipam": ONE}, setup=lease("10.1.0.2")),
    Case("exhausted-masquerade", {"isGateway": True, "ipMasq": True, "ipam": ONE}, setup=lease("10.1.0.2")),
    Case(
        "exhausted-then-free",
        {"isGateway": True, "ipam": ONE},
        setup=lease("10.1.0.2"),
        calls=(
            Call("ADD"),
            Call("ADD", before=(host("rm /var/lib/cni/networks/net/10.1.0.2"),)),
            Call("CHECK"),
            Call("DEL"),
        ),
    ),
    Case("full-set", {"isGateway": True, "ipam": ONE}, calls=(*adds("c1", "c2"), Call("CHECK"), Call("DEL"))),
    Case("full-second-set", {"ipam": ipam(R4, {"subnet": "10.2.0.0/30"})}, setup=lease("10.2.0.2")),
    Case("masquerade-no-iptables", _NAT, env={"PATH": "/nowhere"}),
    Case(
        "route-refused-masquerade",
        {
            "isGateway": True,
            "ipMasq": True,
            "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "gw": "10.99.0.1"}]),
        },
    ),
)

DAMAGE = (
    Case("check-address-gone", _GATEWAY, calls=damaged(inside("ip addr flush dev eth0"))),
    Case("check-ipv6-address-gone", _GATEWAY6, calls=damaged(inside("ip addr del fd00:1::2/64 dev eth0"))),
    Case("check-route-gone", _NAT, calls=damaged(inside("ip route del default"))),
    Case("check-link-gone", _GATEWAY, calls=damaged(inside("ip link del eth0"))),
    Case("check-link-down", _GATEWAY, calls=damaged(inside("ip link set eth0 down"))),
    Case(
        "check-link-renamed",
        _GATEWAY,
        calls=damaged(inside("ip link set eth0 down; ip link set eth0 name eth5")),
    ),
    Case(
        "check-link-replaced",
        _GATEWAY,
        calls=damaged(inside("ip link del eth0; ip link add eth0 type bridge")),
    ),
    Case("check-mac-changed", _GATEWAY, calls=damaged(inside("ip link set eth0 address 02:00:00:00:00:99"))),
    Case(
        "check-port-taken-off",
        _GATEWAY,
        calls=damaged(
            port("ip link set $PORT nomaster"),
        ),
    ),
    Case(
        "check-port-on-other-bridge",
        _GATEWAY,
        calls=damaged(
            port("ip link add cni9 type bridge; ip link set $PORT master cni9"),
        ),
    ),
    Case("check-bridge-gone", _GATEWAY, calls=damaged(host("ip link del cni0"))),
    Case("check-bridge-down", _GATEWAY, calls=damaged(host("ip link set cni0 down"))),
    Case(
        "check-bridge-mac-changed",
        _GATEWAY,
        calls=damaged(host("ip link set cni0 address 02:00:00:00:00:98")),
    ),
    Case(
        "check-bridge-not-promiscuous",
        {"promiscMode": True, "ipam": V4},
        calls=damaged(host("ip link set cni0 promisc off")),
    ),
    Case("check-gateway-address-gone", _GATEWAY, calls=damaged(host("ip addr flush dev cni0"))),
    Case("check-forwarding-off", _GATEWAY, calls=damaged(host("echo 0 > /proc/sys/net/ipv4/ip_forward"))),
    Case(
        "check-ipv6-forwarding-off",
        _GATEWAY6,
        calls=damaged(host("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding")),
    ),
    Case(
        "check-hairpin-off",
        {"hairpinMode": True, "ipam": V4},
        calls=damaged(
            port("ip link set $PORT type bridge_slave hairpin off"),
        ),
    ),
    Case("check-masquerade-gone", _DUAL_NAT, calls=damaged(host("nft flush ruleset"))),
    Case("check-lease-gone", _GATEWAY, calls=damaged(host("rm /var/lib/cni/networks/net/10.1.0.2"))),
    Case("check-route-added-later", _GATEWAY, calls=damaged(inside("ip route add 10.77.0.0/16 dev eth0"))),
    Case("check-address-added-later", _GATEWAY, calls=damaged(inside("ip addr add 10.77.0.1/32 dev eth0"))),
)

CASES = BRIDGE + CONTAINER + FAILED_ADD + DAMAGE
