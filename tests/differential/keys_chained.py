"""Every key of the chained plugins, and what shibafu makes of it; the plugin's name comes first."""

from differential.keys import SAME, Key

BANDWIDTH = (
    Key("bandwidth.ingressRate", SAME, ("values-before-the-kernel",)),
    Key("bandwidth.ingressBurst", "The same; may be left out.", ("chosen-burst",)),
    Key("bandwidth.egressRate", SAME, ("limits-again",)),
    Key("bandwidth.egressBurst", "The same; may be left out.", ("chosen-burst",)),
    Key("bandwidth.runtimeConfig.bandwidth", "The same: ignored if the network has its own limits."),
)
FIREWALL = (
    Key("firewall.backend"),
    Key("firewall.firewalldZone", "The same; subnets are added to the zone, not single addresses."),
    Key(
        "firewall.ingressPolicy",
        "The same, and `isolated` as in newer releases; the rules are removed with the last container.",
        ("chains-left", "refusal-leaves-rules"),
    ),
    Key("firewall.iptablesAdminChainName", SAME, ("values-before-the-kernel",)),
    Key(
        "firewall.policies",
        "shibafu's own, ignored by the reference: network policies that must be in force at ADD.",
    ),
    Key("firewall.policyDir", "shibafu's own, ignored by the reference: a directory of them."),
)
PORTMAP = (
    Key("portmap.backend", "`iptables`, or `nftables` as in newer releases."),
    Key("portmap.snat"),
    Key("portmap.masqAll", "The same as in newer releases."),
    Key("portmap.conditionsV4", SAME, ("refusals-with-reasons",)),
    Key("portmap.conditionsV6"),
    Key("portmap.markMasqBit", "Accepted, without effect: masquerading needs no mark."),
    Key("portmap.externalSetMarkChain", SAME, ("refusals-with-reasons",)),
    Key("portmap.runtimeConfig.portMappings", SAME, ("taken-port", "ports-left")),
    Key("portmap.runtimeConfig.portMappings.hostPort", SAME, ("any-free-port", "values-before-the-kernel")),
    Key("portmap.runtimeConfig.portMappings.containerPort"),
    Key("portmap.runtimeConfig.portMappings.protocol", SAME, ("default-protocol",)),
    Key("portmap.runtimeConfig.portMappings.hostIP", SAME, ("localnet-for-ipv4",)),
    Key("portmap.runtimeConfig.portMappings.range", "shibafu's own: consecutive ports.", ("port-ranges",)),
)
TUNING = (
    Key("tuning.sysctl", SAME, ("check-of-interface-s-sysctl", "sysctl-name-in-error")),
    Key("tuning.mac", SAME, ("mac-in-capitals", "values-before-the-kernel")),
    Key("tuning.mtu", SAME, ("refusals-with-reasons", "values-before-the-kernel")),
    Key("tuning.promisc"),
    Key("tuning.allmulti"),
    Key("tuning.txQLen", "The same as in newer releases."),
    Key("tuning.dataDir", SAME, ("former-attributes", "directory-of-attributes")),
    Key("tuning.args.cni.sysctl", SAME, ("sysctl-of-args-alone",)),
    Key("tuning.args.cni.mac"),
    Key("tuning.args.cni.mtu"),
    Key("tuning.args.cni.promisc"),
    Key("tuning.args.cni.allmulti"),
    Key("tuning.args.cni.txQLen", "The same as in newer releases."),
    Key("tuning.runtimeConfig.mac"),
)
CHAINED_SECTIONS = (
    ("bandwidth", "Keys of `bandwidth`", BANDWIDTH),
    ("firewall", "Keys of `firewall`", FIREWALL),
    ("portmap", "Keys of `portmap`", PORTMAP),
    ("tuning", "Keys of `tuning`", TUNING),
)
