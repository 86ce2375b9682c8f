"""The keys and arguments of the bridge plugin."""

from differential.case import REFUSED, Call, Case
from differential.samples import DEFAULT_ROUTE, DEFAULT_ROUTE6, DUAL, R4, R6, V4, V6, host, inside, ipam

_HOST_DAD = host("echo 1 > /proc/sys/net/ipv6/conf/default/accept_dad")
_RESOLV_CONF = "/run/resolv.conf"
_MAC = "02:00:00:00:00:07"
_OTHER_MAC = "02:00:00:00:00:08"
_THIRD_MAC = "02:00:00:00:00:09"
_MAC_ARG = {"CNI_ARGS": f"IgnoreUnknown=1;MAC={_MAC}"}

ADDRESSING = (
    Case("layer-2", {}),
    Case("layer-2-empty-ipam", {"ipam": {}}),
    Case("layer-2-empty-ipam-type", {"ipam": {"type": ""}}),
    Case("layer-2-null-ipam", {"ipam": None}),
    Case("layer-2-gateway", {"isGateway": True}),
    Case("layer-2-masquerade", {"ipMasq": True}),
    Case("ipv4", {"ipam": V4}),
    Case("ipv6", {"ipam": V6}),
    Case("dual-stack", {"ipam": DUAL}),
    Case("gateway-ipv4", {"isGateway": True, "ipam": V4}),
    Case("gateway-ipv6", {"isGateway": True, "ipam": V6}),
    Case("gateway-dual-stack", {"isGateway": True, "ipam": DUAL}),
    Case("default-gateway-ipv4", {"isDefaultGateway": True, "ipam": V4}),
    Case("default-gateway-ipv6", {"isDefaultGateway": True, "ipam": V6}),
    Case("default-gateway-dual-stack", {"isDefaultGateway": True, "ipam": DUAL}),
    Case("default-gateway-overrides-gateway", {"isGateway": False, "isDefaultGateway": True, "ipam": V4}),
    Case(
        "default-gateway-two-subnets", {"isDefaultGateway": True, "ipam": ipam(R4, {"subnet": "10.2.0.0/24"})}
    ),
    Case("gateway-two-subnets", {"isGateway": True, "ipam": ipam(R4, {"subnet": "10.2.0.0/24"})}),
    Case("gateway-small-subnet", {"isGateway": True, "ipam": ipam({"subnet": "10.1.0.0/30"})}),
    Case("gateway-prefix-25", {"isGateway": True, "ipam": ipam({"subnet": "10.1.0.128/25"})}),
    Case(
        "gateway-elsewhere",
        {"isGateway": True, "ipam": ipam({"subnet": "10.1.0.0/24", "gateway": "10.1.0.254"})},
    ),
    Case(
        "gateway-outside-subnet",
        {"isGateway": True, "ipam": ipam({"subnet": "10.1.0.0/24", "gateway": "10.9.0.1"})},
    ),
    Case("route-default", {"isGateway": True, "ipam": ipam(R4, routes=[DEFAULT_ROUTE])}),
    Case("route-default-without-gateway", {"ipam": ipam(R4, routes=[DEFAULT_ROUTE])}),
    Case("route-default-ipv6", {"isGateway": True, "ipam": ipam(R6, routes=[DEFAULT_ROUTE6])}),
    Case(
        "route-default-dual-stack",
        {"isGateway": True, "ipam": ipam(R4, R6, routes=[DEFAULT_ROUTE, DEFAULT_ROUTE6])},
    ),
    Case(
        "route-default-and-default-gateway",
        {"isDefaultGateway": True, "ipam": ipam(R4, routes=[DEFAULT_ROUTE])},
        reference={"ipam": V4},
        despite="routes-twice",
    ),
    Case(
        "route-default-and-default-gateway-ipv6",
        {"isDefaultGateway": True, "ipam": ipam(R6, routes=[DEFAULT_ROUTE6])},
        reference={"ipam": V6},
        despite="routes-twice",
    ),
    Case(
        "route-default-with-gw-and-default-gateway",
        {"isDefaultGateway": True, "ipam": ipam(R4, routes=[{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}])},
    ),
    Case(
        "route-default-with-other-gw-and-default-gateway",
        {"isDefaultGateway": True, "ipam": ipam(R4, routes=[{"dst": "0.0.0.0/0", "gw": "10.1.0.99"}])},
    ),
    Case(
        "routes",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16"}, {"dst": "10.9.0.0/16"}])},
    ),
    Case("route-with-gw", {"ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "gw": "10.1.0.77"}])}),
    Case("route-gw-unreachable", {"ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "gw": "10.99.0.1"}])}),
    Case("route-of-other-family", {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "fd08::/16"}])}),
    Case(
        "route-doubled",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16"}] * 2)},
        reference={"ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16"}])},
        documented={"1-ADD answer.routes[1].dst": "10.8.0.0/16"},
        despite="routes-twice",
    ),
    Case(
        "route-host-bits",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.7/16"}])},
        reference={"ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16"}])},
        documented={"1-ADD answer.routes[0].dst": "10.8.0.7/16"},
        despite="routes-with-host-bits",
    ),
)

MASQUERADE = (
    Case("masquerade-ipv4", {"isDefaultGateway": True, "ipMasq": True, "ipam": V4}),
    Case("masquerade-ipv6", {"isDefaultGateway": True, "ipMasq": True, "ipam": V6}),
    Case("masquerade-dual-stack", {"isDefaultGateway": True, "ipMasq": True, "ipam": DUAL}),
    Case("masquerade-without-gateway", {"ipMasq": True, "ipam": V4}),
    Case(
        "masquerade-two-containers",
        {"isDefaultGateway": True, "ipMasq": True, "ipam": V4},
        calls=(
            Call("ADD"),
            Call("ADD", "c2"),
            Call("CHECK"),
            Call("DEL"),
            Call("CHECK", "c2"),
            Call("DEL", "c2"),
        ),
    ),
    Case(
        "masquerade-forward-policy-drop",
        {"isDefaultGateway": True, "ipMasq": True, "ipam": DUAL},
        setup=(host("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP"),),
    ),
    Case(
        "forward-without-masquerade",
        {"isDefaultGateway": True, "ipam": DUAL},
    ),
)

LINKS = (
    Case("bridge-name", {"bridge": "br-lan.7", "ipam": V4}),
    Case(
        "bridge-name-empty",
        {"bridge": "", "ipam": V4},
        reference={"bridge": "cni0"},
        despite="empty-bridge-name",
    ),
    Case("bridge-name-15-characters", {"bridge": "bridge-with-15c", "ipam": V4}),
    Case("bridge-name-16-characters", {"bridge": "bridge-with-16ch", "ipam": V4}),
    Case("bridge-name-with-slash", {"bridge": "a/b", "ipam": V4}),
    Case("bridge-name-with-space", {"bridge": "a b", "ipam": V4}),
    Case("bridge-name-number", {"bridge": 7, "ipam": V4}, calls=REFUSED),
    Case("bridge-name-lo", {"bridge": "lo", "ipam": V4}),
    Case("mtu", {"mtu": 1400, "ipam": V4}),
    Case("mtu-0", {"mtu": 0, "ipam": V4}),
    Case("mtu-9000", {"mtu": 9000, "isGateway": True, "ipam": DUAL}),
    Case("mtu-below-ipv6-minimum", {"mtu": 1000, "ipam": V4}),
    Case("mtu-too-small", {"mtu": 60, "ipam": V4}),
    Case("mtu-too-large", {"mtu": 100000, "ipam": V4}),
    Case("mtu-negative", {"mtu": -5, "ipam": V4}),
    Case("mtu-string", {"mtu": "1400", "ipam": V4}, calls=REFUSED),
    Case("mtu-fraction", {"mtu": 1400.5, "ipam": V4}, calls=REFUSED),
    Case("hairpin-mode", {"hairpinMode": True, "ipam": V4}),
    Case("promiscuous-mode", {"promiscMode": True, "ipam": V4}),
    Case(
        "hairpin-and-promiscuous-mode", {"hairpinMode": True, "promiscMode": True, "ipam": V4}, calls=REFUSED
    ),
    Case("hairpin-mode-string", {"hairpinMode": "true", "ipam": V4}, calls=REFUSED),
    Case("ifname", {"ipam": V4}, env={"CNI_IFNAME": "net1.7-a_b"}),
    Case("ifname-15-characters", {"ipam": V4}, env={"CNI_IFNAME": "fifteen-letters"}),
    Case("keys-in-other-case", {"BRIDGE": "br7", "IsGateway": True, "MTU": 1400, "IPAM": V4}),
    Case("keys-unknown", {"ipam": V4 | {"other": "x"}, "other": {"a": [1]}, "capabilities": {"ips": True}}),
    Case("keys-null", {"bridge": None, "mtu": None, "isGateway": None, "dns": None, "ipam": V4}),
    Case("is-gateway-number", {"isGateway": 1, "ipam": V4}, calls=REFUSED),
    Case("dad-off", {"enabledad": False, "isGateway": True, "ipam": V6}),
    Case("dad-on", {"enabledad": True, "isGateway": True, "ipam": V6}),
    Case("dad-of-gateway", {"isGateway": True, "ipam": DUAL}, setup=(_HOST_DAD,)),
    Case("dad-on-ipv4", {"enabledad": True, "ipam": V4}),
    Case(
        "ipv6-switched-off-by-default",
        {"isGateway": True, "ipam": V6},
        setup=(
            inside("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"),
            host("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"),
        ),
    ),
    Case(
        "arp-notify-everywhere",
        {"ipam": V4},
        setup=(inside("echo 1 > /proc/sys/net/ipv4/conf/all/arp_notify"),),
    ),
)

MAC_ADDRESS = (
    Case("mac-cni-args", {"ipam": V4}, env=_MAC_ARG),
    Case("mac-cni-args-known-only", {}, env={"CNI_ARGS": f"MAC={_MAC}"}),
    Case("mac-args-cni", {"ipam": V4, "args": {"cni": {"mac": _MAC}}}),
    Case("mac-runtime-config", {"ipam": V4, "runtimeConfig": {"mac": _MAC}}),
    Case("mac-runtime-config-capital-key", {"ipam": V4, "runtimeConfig": {"Mac": _MAC}}),
    Case("mac-args-cni-before-cni-args", {"ipam": V4, "args": {"cni": {"mac": _OTHER_MAC}}}, env=_MAC_ARG),
    Case(
        "mac-runtime-config-before-cni-args", {"ipam": V4, "runtimeConfig": {"mac": _OTHER_MAC}}, env=_MAC_ARG
    ),
    Case(
        "mac-runtime-config-before-all",
        {"ipam": V4, "runtimeConfig": {"mac": _OTHER_MAC}, "args": {"cni": {"mac": _THIRD_MAC}}},
        env=_MAC_ARG,
    ),
    Case("mac-upper-case", {"ipam": V4, "runtimeConfig": {"mac": "02:00:00:00:AB:CD"}}),
    Case("mac-dashes", {"ipam": V4, "runtimeConfig": {"mac": "02-00-00-00-ab-cd"}}),
    Case("mac-dots", {"ipam": V4, "runtimeConfig": {"mac": "0200.0000.abcd"}}),
    Case("mac-invalid", {"ipam": V4, "runtimeConfig": {"mac": "zz"}}, calls=REFUSED),
    Case("mac-invalid-args-cni", {"ipam": V4, "args": {"cni": {"mac": "02:00"}}}, calls=REFUSED),
    Case("mac-invalid-cni-args", {}, env={"CNI_ARGS": "MAC=zz"}, calls=REFUSED),
    Case("mac-multicast", {"ipam": V4, "runtimeConfig": {"mac": "03:00:00:00:00:01"}}, calls=REFUSED),
    Case("mac-eight-bytes", {"ipam": V4, "runtimeConfig": {"mac": "02:00:00:00:00:01:02:03"}}, calls=REFUSED),
)

DNS = (
    Case("dns", {"ipam": V4, "dns": {"nameservers": ["10.1.0.53", "fd00::53"], "domain": "example.org"}}),
    Case(
        "dns-all",
        {
            "ipam": V4,
            "dns": {
                "nameservers": ["10.1.0.53"],
                "domain": "a.example",
                "search": ["b.example"],
                "options": ["ndots:2"],
            },
        },
    ),
    Case("dns-empty", {"ipam": V4, "dns": {}}),
    Case("dns-empty-lists", {"ipam": V4, "dns": {"nameservers": [], "search": []}}),
    Case("dns-string", {"ipam": V4, "dns": "10.1.0.53"}, calls=REFUSED),
    Case(
        "dns-of-ipam",
        {"ipam": ipam(R4, resolvConf=_RESOLV_CONF)},
        setup=(host(rf"printf 'nameserver 10.1.0.54\nsearch c.example\n' > {_RESOLV_CONF}"),),
    ),
    Case(
        "dns-replaces-that-of-ipam",
        {"ipam": ipam(R4, resolvConf=_RESOLV_CONF), "dns": {"options": ["ndots:2"]}},
        setup=(host(rf"printf 'nameserver 10.1.0.54\nsearch c.example\n' > {_RESOLV_CONF}"),),
    ),
    Case("dns-layer-2", {"dns": {"nameservers": ["10.1.0.53"]}}),
)

DELEGATION = (
    Case("ipam-not-installed", {"ipam": {"type": "no-such-plugin"}}),
    Case("ipam-path-as-type", {"ipam": {"type": "../bin/host-local"}}),
    Case("ipam-without-addresses", {"ipam": {"type": "static", "addresses": []}}),
    Case(
        "ipam-static",
        {"isGateway": True, "ipam": {"type": "static", "addresses": [{"address": "10.1.0.9/24"}]}},
    ),
    Case(
        "ipam-static-dual-stack",
        {
            "isDefaultGateway": True,
            "ipMasq": True,
            "ipam": {
                "type": "static",
                "addresses": [
                    {"address": "10.1.0.9/24", "gateway": "10.1.0.1"},
                    {"address": "fd00:1::9/64", "gateway": "fd00:1::1"},
                ],
                "routes": [{"dst": "10.8.0.0/16"}],
                "dns": {"nameservers": ["10.1.0.53"]},
            },
        },
    ),
    Case(
        "ipam-static-same-address-as-gateway",
        {"isGateway": True, "ipam": {"type": "static", "addresses": [{"address": "10.1.0.1/24"}]}},
    ),
    Case("ipam-fails", {"isGateway": True, "ipam": {"type": "host-local"}}),
    Case("ipam-string", {"ipam": "host-local"}, calls=REFUSED),
    Case("ipam-type-number", {"ipam": {"type": 7}}, calls=REFUSED),
    Case("cni-path-second-directory", {"ipam": V4}, env={"CNI_PATH": "/nowhere:/opt/cni/bin"}),
    Case("cni-path-without-plugin", {"ipam": V4}, env={"CNI_PATH": "/nowhere"}),
    Case("requested-address-cni-args", {"ipam": V4}, env={"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.77"}),
    Case("requested-address-cni-args-unknown-to-bridge", {"ipam": V4}, env={"CNI_ARGS": "IP=10.1.0.77"}),
    Case("requested-address-runtime-config", {"ipam": V4, "runtimeConfig": {"ips": ["10.1.0.77"]}}),
    Case(
        "requested-addresses-dual-stack",
        {"ipam": DUAL, "args": {"cni": {"ips": ["10.1.0.77", "fd00:1::77"]}}},
    ),
    Case("requested-address-out-of-range", {"ipam": V4, "runtimeConfig": {"ips": ["10.2.0.77"]}}),
)

# Keys of the kernel's VLAN filtering, and of nftables' bridge family.
FILTERING = (
    Case("vlan-0", {"vlan": 0, "ipam": V4}),
    Case("vlan", {"vlan": 100, "ipam": V4}),
    Case("vlan-gateway", {"vlan": 100, "isGateway": True, "ipam": V4}),
    Case("vlan-4095", {"vlan": 4095, "ipam": V4}, calls=REFUSED),
    Case("vlan-negative", {"vlan": -1, "ipam": V4}, calls=REFUSED),
    Case("vlan-string", {"vlan": "100", "ipam": V4}, calls=REFUSED),
    Case("mac-spoof-check", {"macspoofchk": True, "ipam": V4}),
    Case("mac-spoof-check-layer-2", {"macspoofchk": True}),
    Case("mac-spoof-check-off", {"macspoofchk": False, "ipam": V4}),
    Case("mac-spoof-check-requested-mac", {"macspoofchk": True, "ipam": V4, "runtimeConfig": {"mac": _MAC}}),
    Case(
        "mac-spoof-check-del-without-netns",
        {"macspoofchk": True, "ipam": V4},
        calls=(
            Call("ADD"),
            Call("DEL", env={"CNI_NETNS": ""}),
        ),
    ),
    Case("mac-spoof-check-string", {"macspoofchk": "yes", "ipam": V4}, calls=REFUSED),
)

CASES = ADDRESSING + MASQUERADE + LINKS + MAC_ADDRESS + DNS + DELEGATION + FILTERING
