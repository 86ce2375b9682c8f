"""What newer releases of the reference know and Debian's does not, and what none of them knows.

The reference is called without it, or with what has the same effect, and its outcome is corrected by
what is documented of the newer ones.
"""

from collections.abc import Mapping

from differential.case import ABSENT, LIFE, Call, Case, Shell
from differential.samples import DUAL, ONE, R4, V4, V6, host, inside, ipam, lease

_NAT = {"isDefaultGateway": True, "ipMasq": True, "ipam": V4}
_OLDER = {"cniVersion": "1.0.0"}
_NEWEST = {"cniVersion": "1.1.0"}
_ADDED = {"1-ADD answer.cniVersion": "1.1.0"}
_UNSPECIFIED = "0.0.0.0"  # noqa: S104 - a route without a gateway
_ALL: list[dict[str, str]] = []
_LISTED = "cni.dev/valid-attachments"


def _newest(
    name: str,
    config: Mapping[str, object],
    calls: tuple[Call, ...] = LIFE,
    documented: Mapping[str, str] = _ADDED,
) -> Case:
    corrected = _ADDED | dict(documented)
    return Case(f"newest-{name}", _NEWEST | dict(config), calls=calls, reference=_OLDER, documented=corrected)


def _refusal(name: str, config: Mapping[str, object], message: str) -> Case:
    """Return a case that the reference refuses for another reason, at the same place."""
    both = {"hairpinMode": True, "promiscMode": True}
    documented = {"1-ADD answer.msg": message}
    return Case(
        name, {"ipam": V4} | dict(config), calls=(Call("ADD"),), reference=both, documented=documented
    )


def _trunk(name: str, trunk: list[dict[str, int]], message: str) -> Case:
    return _refusal(f"vlan-trunk-{name}", {"vlanTrunk": trunk}, message)


def _status(
    name: str, config: Mapping[str, object], msg: str = "", code: int = 50, setup: tuple[Shell, ...] = ()
) -> Case:
    """Return a STATUS, compared with a DEL of nothing."""
    refused = {"1-STATUS status": "1", "1-STATUS answer.code": str(code), "1-STATUS answer.msg": msg}
    return Case(
        f"status-{name}",
        _NEWEST | dict(config),
        calls=(Call("STATUS", instead="DEL"),),
        setup=setup,
        reference=_OLDER | {"ipam": V4},
        documented=refused if msg else {},
    )


VERSION_1_1 = (
    _newest("layer-2", {}),
    _newest("ipv4", {"isGateway": True, "ipam": V4}),
    _newest("ipv6", {"isGateway": True, "ipam": V6}),
    _newest("masquerade", _NAT | {"ipam": DUAL}),
    _newest("mtu", {"mtu": 1400, "ipam": V4}),
    _newest("dns", {"ipam": V4, "dns": {"nameservers": ["10.1.0.53"]}}),
    Case("ipam-version-1.1.0", _NEWEST | {"ipam": DUAL}, "host-local", reference=_OLDER, documented=_ADDED),
)

ROUTES = (
    _newest(
        "route-priority",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "priority": 77}])},
        documented={
            "1-ADD answer.routes[0].priority": "77",
            "after-ADD c1 IPv4 route 10.8.0.0/16 table main dev eth0": "gateway 10.1.0.1, metric 77",
        },
    ),
    _newest(
        "route-table",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "table": 100}])},
        documented={
            "1-ADD answer.routes[0].table": "100",
            "after-ADD c1 IPv4 route 10.8.0.0/16 table main dev eth0": ABSENT,
            "after-ADD c1 IPv4 route 10.8.0.0/16 table 100 dev eth0": "gateway 10.1.0.1",
        },
    ),
    _newest(
        "route-scope",
        {"ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "gw": _UNSPECIFIED, "scope": 253}])},
        documented={
            "1-ADD answer.routes[0].scope": "253",
        },
    ),
    _newest(
        "route-mtu",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "mtu": 1300}])},
        documented={
            "1-ADD answer.routes[0].mtu": "1300",
        },
    ),
    _newest(
        "route-advmss",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "advmss": 1200}])},
        documented={
            "1-ADD answer.routes[0].advmss": "1200",
        },
    ),
    Case(
        "route-properties-1.0.0",
        {"isGateway": True, "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "mtu": 1300, "priority": 77}])},
        documented={
            "1-ADD answer.routes[0].mtu": "1300",
            "1-ADD answer.routes[0].priority": "77",
            "after-ADD c1 IPv4 route 10.8.0.0/16 table main dev eth0": "gateway 10.1.0.1, metric 77",
        },
    ),
    Case(
        "route-properties-0.4.0",
        {
            "cniVersion": "0.4.0",
            "isGateway": True,
            "ipam": ipam(R4, routes=[{"dst": "10.8.0.0/16", "priority": 77}]),
        },
    ),
)

PORTS = (
    Case(
        "port-isolation",
        {"portIsolation": True, "ipam": V4},
        documented={
            "after-ADD host link port(c1/eth0) isolated": "True",
        },
    ),
    Case("port-isolation-off", {"portIsolation": False, "ipam": V4}),
    # Without policies it has no effect.
    Case("ip-spoof-check", {"ipspoofchk": True, "ipam": V4}),
    Case("ip-spoof-check-off", {"ipspoofchk": False, "ipam": V4}),
    _refusal(
        "ip-spoof-check-string",
        {"ipspoofchk": "yes"},
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        "NetConf.ipspoofchk of type bool",
    ),
    Case("policies-none", {"policies": [], "policyDir": "", "ipam": V4}),
    _refusal(
        "policies-string",
        {"policies": "all"},
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        "NetConf.policies of type array",
    ),
    _refusal(
        "policy-dir-relative",
        {"policyDir": "policies"},
        '"policyDir" is not an absolute path: "policies"',
    ),
    # Nobody has applied them.
    _refusal(
        "policies-stated",
        {"policies": [{"kind": "NetworkPolicy"}]},
        "the policies of the network's configuration are not applied as they are now",
    ),
    _refusal(
        "port-isolation-string",
        {"portIsolation": "yes"},
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        "NetConf.portIsolation of type bool",
    ),
    Case(
        "container-interface-disabled",
        {"disableContainerInterface": True},
        documented={
            "after-ADD c1 link eth0 flags": "DOWN",
            "after-ADD host link port(c1/eth0) port state": "disabled",
        },
    ),
    _refusal(
        "container-interface-disabled-with-ipam",
        {"disableContainerInterface": True},
        "cannot use IPAM when DisableContainerInterface flag is set",
    ),
    Case("container-interface-disabled-off", {"disableContainerInterface": False, "ipam": V4}),
)

# The reference knows no such key, and another is ignored.
ISOLATION = (
    Case("isolate", _NAT | {"isolate": True}),
    Case("isolate-nftables", _NAT | {"isolate": True, "ipMasqBackend": "nftables", "ipam": DUAL}),
    Case("isolate-strict", _NAT | {"isolate": "strict"}),
    Case("isolate-strict-nftables", _NAT | {"isolate": "strict", "ipMasqBackend": "nftables", "ipam": DUAL}),
    Case(
        "internal",
        {"internal": True, "ipam": V4},
        documented={
            "after-ADD host firewall": "rules",
            "after-ADD host firewall of bridges": "rules",
        },
    ),
    Case("keep-ipv6", {"keepIPv6": True, "ipam": V4}),
    Case(
        "metric",
        {"isDefaultGateway": True, "metric": 10, "ipam": DUAL},
        documented={
            "1-ADD answer.routes[0].priority": "10",
            "1-ADD answer.routes[1].priority": "10",
            "after-ADD c1 IPv4 route default table main dev eth0": "gateway 10.1.0.1, metric 10",
            "after-ADD c1 IPv6 route default table main dev eth0": "gateway fd00:1::1, metric 10",
        },
    ),
    Case("accept-ra", {"acceptRA": True, "ipam": V4}),
    Case("watch", {"watch": {"rules": False, "container": True}, "ipam": V4}),
    _refusal(
        "uplinks-loopback",
        {
            "uplinks": ["lo"],
            "uplinkMode": "active-backup",
            "moveAddresses": False,
            "uplinkProbe": "none",
            "primaryReselect": "always",
        },
        'invalid uplink "lo"',
    ),
    _refusal(
        "gateway-ha-number",
        {
            "isGateway": True,
            "gatewayHA": "vrrp",
            "gatewayHostIP": ["10.1.0.2/24"],
            "vrrpID": 256,
            "vrrpPriority": 7,
            "vrrpTrack": ["uplink"],
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.19"}]],
            },
        },
        "invalid vrrpID 256",
    ),
    Case("isolate-off", {"isolate": False, "ipam": V4}),
    _refusal(
        "isolate-string",
        {"isolate": "yes"},
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        "NetConf.isolate of type bool",
    ),
)

VLANS = (
    Case("vlan-trunk", {"vlanTrunk": [{"id": 42}], "ipam": V4}, reference={"vlanTrunk": None, "vlan": 1}),
    Case(
        "vlan-trunk-range",
        {"vlanTrunk": [{"minID": 10, "maxID": 20}], "ipam": V4},
        reference={"vlanTrunk": None, "vlan": 1},
    ),
    Case("vlan-trunk-empty", {"vlanTrunk": [], "ipam": V4}),
    _trunk("id-0", [{"id": 0}], "incorrect trunk id parameter"),
    _trunk("id-4095", [{"id": 4095}], "incorrect trunk id parameter"),
    _trunk("min-id-0", [{"minID": 0, "maxID": 5}], "incorrect trunk minID parameter"),
    _trunk("max-id-4095", [{"minID": 1, "maxID": 4095}], "incorrect trunk maxID parameter"),
    _trunk("reversed", [{"minID": 9, "maxID": 5}], "minID is greater than maxID in trunk parameter"),
    _trunk(
        "max-id-missing",
        [{"minID": 9}],
        "minID and maxID should be configured simultaneously, maxID is missing",
    ),
    _trunk(
        "min-id-missing",
        [{"maxID": 9}],
        "minID and maxID should be configured simultaneously, minID is missing",
    ),
    Case("preserve-default-vlan", {"preserveDefaultVlan": True, "ipam": V4}),
    Case("preserve-default-vlan-off", {"preserveDefaultVlan": False, "ipam": V4}),
    Case("preserve-default-vlan-with-vlan", {"preserveDefaultVlan": True, "vlan": 100, "ipam": V4}),
)

MASQUERADE = (
    Case("masquerade-backend-iptables", _NAT | {"ipMasqBackend": "iptables", "ipam": DUAL}),
    Case("masquerade-backend-nftables", _NAT | {"ipMasqBackend": "nftables", "ipam": DUAL}),
    Case(
        "masquerade-backend-nftables-forward-policy-drop",
        _NAT | {"ipMasqBackend": "nftables"},
        setup=(host("iptables -P FORWARD DROP"),),
    ),
    Case(
        "non-masqueraded-ranges", _NAT | {"nonMasqueradeCIDRs": ["10.42.0.0/16", "fd42::/48"], "ipam": DUAL}
    ),
    Case("masquerade-backend-empty", _NAT | {"ipMasqBackend": ""}),
    Case("masquerade-backend-without-masquerade", {"ipMasqBackend": "nftables", "ipam": V4}),
    Case(
        "masquerade-backend-two-containers",
        _NAT | {"ipMasqBackend": "nftables"},
        calls=(
            Call("ADD"),
            Call("ADD", "c2"),
            Call("DEL"),
            Call("CHECK", "c2"),
            Call("DEL", "c2"),
        ),
    ),
    Case(
        "masquerade-backend-del-without-netns",
        _NAT | {"ipMasqBackend": "nftables"},
        calls=(
            Call("ADD"),
            Call(
                "DEL",
                env={"CNI_NETNS": ""},
                before=(
                    inside("ip link del eth0"),
                    host("while ip link show | grep -q veth; do sleep 0.01; done"),
                ),
            ),
        ),
    ),
    _refusal("masquerade-backend-unknown", _NAT | {"ipMasqBackend": "foo"}, 'unknown ipmasq backend "foo"'),
)

STATUS = (
    _status("ready", {"ipam": V4}),
    _status("ready-masquerade", _NAT),
    _status("ready-layer-2", {}),
    _status(
        "exhausted",
        {"ipam": ONE},
        "no IP addresses available in range set: 10.1.0.1-10.1.0.2",
        setup=lease("10.1.0.2"),
    ),
    _status(
        "ipam-not-installed",
        {"ipam": {"type": "no-such-plugin"}},
        'failed to find plugin "no-such-plugin" in path [/opt/cni/bin]',
        7,
    ),
    _status("ipam-bad", {"ipam": ipam({"subnet": "bogus"})}, "invalid CIDR address: bogus", 7),
    Case(
        "status-1.0.0",
        {"ipam": V4},
        calls=(Call("STATUS", instead="FOO"),),
        documented={
            "1-STATUS answer.code": "1",
            "1-STATUS answer.msg": "config version does not allow STATUS",
            "1-STATUS answer.details": '"cniVersion" is "1.0.0", which does not have STATUS',
        },
    ),
)

GARBAGE_COLLECTION = (
    _newest("gc-of-all", _NAT, (Call("ADD"), Call("GC", config={_LISTED: _ALL}, instead="DEL"))),
    _newest(
        "gc-of-none",
        _NAT,
        (
            Call("ADD"),
            Call("GC", config={_LISTED: [{"containerID": "c1", "ifname": "eth0"}]}, instead="CHECK"),
        ),
    ),
    _newest(
        "gc-of-another",
        _NAT,
        (
            Call("ADD"),
            Call("GC", config={_LISTED: [{"containerID": "c1", "ifname": "eth1"}]}, instead="DEL"),
        ),
    ),
    _newest("gc-without-list", _NAT, (Call("ADD"), Call("GC", instead="CHECK"))),
    Case(
        "ipam-gc-of-all",
        _NEWEST | {"ipam": V4},
        "host-local",
        calls=(Call("ADD"), Call("GC", config={_LISTED: _ALL}, instead="DEL")),
        reference=_OLDER,
        documented=_ADDED,
    ),
    Case(
        "ipam-gc-without-list",
        _NEWEST | {"ipam": V4},
        "host-local",
        calls=(Call("ADD"), Call("GC", instead="CHECK")),
        reference=_OLDER,
        documented=_ADDED,
    ),
    Case(
        "gc-1.0.0",
        {"ipam": V4},
        calls=(Call("GC", instead="FOO"),),
        documented={
            "1-GC answer.code": "1",
            "1-GC answer.msg": "config version does not allow GC",
            "1-GC answer.details": '"cniVersion" is "1.0.0", which does not have GC',
        },
    ),
)

CASES = VERSION_1_1 + ROUTES + PORTS + ISOLATION + VLANS + MASQUERADE + STATUS + GARBAGE_COLLECTION
