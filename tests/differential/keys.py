"""Every key, argument and capability of bridge and host-local, and what shibafu makes of it."""

from dataclasses import dataclass

SAME = "The same."


@dataclass(frozen=True)
class Key:
    """One thing that can be said to a plugin.

    Args:
        name: the path of a key, as in `ipam.ranges.subnet`; or `CNI_ARGS` and the argument.
        treatment: what shibafu makes of it.
        differences: the names of the differences that concern it.
    """

    name: str
    treatment: str = SAME
    differences: tuple[str, ...] = ()


BRIDGE = (
    Key(
        "bridge",
        "The same; an empty name is the default.",
        ("empty-bridge-name", "refused-before-the-kernel"),
    ),
    Key("isGateway", SAME, ("several-subnets", "gateway-without-dad")),
    Key("isDefaultGateway", SAME, ("routes-twice", "default-routes-of-several-networks")),
    Key("forceAddress"),
    Key("ipMasq", "The same; the rules belong to the network, not to the container.", ("forwarding",)),
    Key("ipMasqBackend", SAME, ("programs-found-without-path",)),
    Key(
        "nonMasqueradeCIDRs",
        "shibafu's own, ignored by the reference: ranges that containers reach, and are reached from, by "
        "their own addresses.",
    ),
    Key("mtu", SAME, ("negative-mtu", "refused-before-the-kernel", "interface-mtu")),
    Key("hairpinMode", SAME, ("check-sees-more",)),
    Key("promiscMode"),
    Key("vlan", SAME, ("missing-feature",)),
    Key("vlanTrunk"),
    Key("vlanTrunk.id"),
    Key("vlanTrunk.minID"),
    Key("vlanTrunk.maxID"),
    Key("preserveDefaultVlan", "The same: false by default, as in newer releases."),
    Key("macspoofchk", "The same; the table is shibafu's own, one for the network.", ("del-without-netns",)),
    Key("enabledad", SAME, ("gateway-without-dad",)),
    Key("disableContainerInterface"),
    Key(
        "ipspoofchk",
        "shibafu's own, ignored by the reference: it concerns containers that network policies are for.",
    ),
    Key(
        "policies",
        "shibafu's own, ignored by the reference: network policies that must be in force at ADD.",
    ),
    Key("policyDir", "shibafu's own, ignored by the reference: a directory of them."),
    Key("portIsolation"),
    Key("uplinks", "shibafu's own, ignored by the reference: redundant ways out of the bridge."),
    Key("uplinkMode", "shibafu's own, ignored by the reference: what has another uplink take over."),
    Key("uplinkProbe", "shibafu's own, ignored by the reference: what has to answer through an uplink."),
    Key("moveAddresses", "shibafu's own, ignored by the reference: what to do with addresses of uplinks."),
    Key("primaryReselect", "shibafu's own, ignored by the reference: when the first uplink is used again."),
    Key("gatewayHA", "shibafu's own, ignored by the reference: a gateway that several hosts share."),
    Key(
        "gatewayHostIP",
        "shibafu's own, ignored by the reference: the host's addresses besides such a gateway's.",
    ),
    Key("vrrpID", "shibafu's own, ignored by the reference: the number of such a gateway."),
    Key("vrrpPriority", "shibafu's own, ignored by the reference: which host such a gateway is on."),
    Key("vrrpTrack", "shibafu's own, ignored by the reference: links that the host of such a gateway needs."),
    Key(
        "isolate",
        "shibafu's own, ignored by the reference: isolated networks cannot reach each other, strictly "
        "isolated ones no others. Otherwise the same.",
    ),
    Key(
        "internal",
        "shibafu's own, ignored by the reference: containers can reach neither the host nor anything "
        "beyond it.",
    ),
    Key(
        "keepIPv6",
        "shibafu's own, ignored by the reference: IPv6 stays on if the network has no IPv6 addresses.",
    ),
    Key("acceptRA", "shibafu's own, ignored by the reference: the container accepts router advertisements."),
    Key("metric", "shibafu's own, ignored by the reference: the metric of the container's default routes."),
    Key("watch", "shibafu's own, ignored by the reference: what the watcher restores."),
    Key("dns", SAME, ("dns-of-ipam", "empty-dns")),
    Key("dns.nameservers"),
    Key("dns.domain"),
    Key("dns.search"),
    Key("dns.options"),
    Key(
        "ipam",
        "The same; without it, or without a `type`, the network is a plain layer 2.",
        ("check-of-layer-2",),
    ),
    Key(
        "ipam.type",
        "The same; `host-local` runs inside the process where CNI_PATH has shibafu under that name.",
    ),
)
IPAM = (
    Key("ipam.subnet"),
    Key("ipam.rangeStart"),
    Key("ipam.rangeEnd"),
    Key("ipam.gateway"),
    Key("ipam.ranges"),
    Key("ipam.ranges.subnet", SAME, ("subnet-of-all", "mapped-subnet")),
    Key("ipam.ranges.rangeStart", SAME, ("broadcast-address", "network-address")),
    Key("ipam.ranges.rangeEnd", SAME, ("broadcast-address",)),
    Key("ipam.ranges.gateway", "The same, also outside the subnet."),
    Key("ipam.routes", SAME, ("routes-twice", "null-among-routes")),
    Key("ipam.routes.dst", SAME, ("route-without-destination", "routes-with-host-bits")),
    Key("ipam.routes.gw"),
    Key("ipam.routes.mtu", "Applied.", ("route-mtu-and-advmss",)),
    Key("ipam.routes.advmss", "Applied.", ("route-mtu-and-advmss",)),
    Key("ipam.routes.priority"),
    Key("ipam.routes.table"),
    Key("ipam.routes.scope", SAME, ("route-scope",)),
    Key(
        "ipam.dataDir",
        "The same, and the same files in it.",
        ("store-mode", "store-unusable", "relative-data-directory", "nothing-made-for-nothing"),
    ),
    Key("ipam.resolvConf", SAME, ("half-a-character",)),
)
HANDED_OVER = (
    Key(
        "runtimeConfig.mac",
        "The same: comes before `args.cni.mac`, which comes before CNI_ARGS. Capability `mac`.",
    ),
    Key(
        "runtimeConfig.ips", "The same: all requested addresses together, one for each set. Capability `ips`."
    ),
    Key("runtimeConfig.ipRanges", "The same: ahead of `subnet` and `ranges`. Capability `ipRanges`."),
    Key("args.cni.mac"),
    Key("args.cni.ips", SAME, ("null-as-address",)),
    Key("CNI_ARGS MAC"),
    Key("CNI_ARGS IP", "The same; bridge refuses it without IgnoreUnknown."),
    Key("CNI_ARGS IgnoreUnknown"),
    Key("CNI_ARGS other", "The same: refused without IgnoreUnknown, by each plugin.", ("del-is-lenient",)),
    Key("prevResult", SAME, ("check-order", "check-order-values")),
    Key(
        "cni.dev/valid-attachments",
        "GC frees everything else; absent is not empty. Debian's release has no GC.",
    ),
)
PROTOCOL = (
    Key("cniVersion", "0.1.0 to 1.1.0; another is refused, absent is 0.1.0.", ("version-1.1.0",)),
    Key("name"),
    Key("other", "Ignored, as by the reference; keys match without regard to case."),
    Key("CNI_COMMAND", "ADD, DEL, CHECK, VERSION, and STATUS and GC of 1.1.0.", ("version-1.1.0",)),
    Key("CNI_CONTAINERID"),
    Key("CNI_NETNS", SAME, ("own-namespace", "not-a-network-namespace", "del-without-netns")),
    Key("CNI_NETNS_OVERRIDE"),
    Key("CNI_IFNAME", SAME, ("existing-interface", "interface-name-pattern")),
    Key("CNI_PATH", "Required if a plugin has to be found.", ("no-cni-path", "check-order-path")),
)
SECTIONS = (
    ("bridge", "Keys of `bridge`", BRIDGE),
    ("host-local", "Keys of `host-local`", IPAM),
    ("handed-over", "What the runtime hands over", HANDED_OVER),
    ("protocol", "The protocol", PROTOCOL),
)
KEYS = tuple(key for _, _, keys in SECTIONS for key in keys)
