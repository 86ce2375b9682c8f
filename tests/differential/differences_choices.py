"""What shibafu does another way on purpose."""

from differential.case import ABSENT
from differential.comparison import THERE
from differential.difference import Difference

_ADD = "?-ADD *"
_CHECK = "?-CHECK *"
_DEL = "?-DEL *"
_STORE = ("after-ADD store *", "at-end store *")
_STATE = ("after-ADD *", "at-end *")
_ADDED = {"1-ADD status": "0", "2-CHECK status": "0", "3-DEL status": "0"}

CHOICES = (
    Difference(
        "ndisc-notify",
        "choice",
        "IPv6 neighbours are told of an address at once, as IPv4's are: a new container may have the "
        "address of an old one (ndisc_notify).",
        ("after-ADD * sysctl ipv6/conf/[*]/ndisc_notify",),
        reference="0",
        ours="1",
    ),
    Difference(
        "router-advertisements",
        "choice",
        "A container with addresses of its network accepts no router advertisements, which any neighbour "
        "can send to give it a default route and addresses; `acceptRA` has it accept them.",
        (
            "* sysctl ipv6/conf/[*]/accept_ra",
            "* sysctl ipv6/conf/[*]/autoconf",
        ),
        reference="1",
        ours="0",
    ),
    Difference(
        "ipv6-without-addresses",
        "choice",
        "IPv6 is off on a container's link to a network without IPv6 addresses and routes; "
        "`keepIPv6` keeps it on.",
        ("* sysctl ipv6/conf/[*]/disable_ipv6", "* sysctl ipv6/conf/[*]/accept_dad"),
        reference="0",
        ours="1",
    ),
    Difference(
        "drops-of-others",
        "choice",
        "CHECK names a chain of others that drops what the network accepts: with nftables no rule of ours "
        "gets packets past the policy of iptables' FORWARD.",
        ("2-CHECK *",),
        ("masquerade-backend-nftables-forward-policy-drop",),
        shows={"2-CHECK status": "1", "2-CHECK answer.code": "104"},
    ),
    Difference(
        "arp-notify-on-layer-2",
        "choice",
        "arp_notify is set also on links that have no address yet.",
        ("* sysctl ipv4/conf/[*]/arp_notify",),
        ("*layer-2*", "bridge-address-with-new-port", "json-not-utf-8-escape", "mac-cni-args-known-only"),
        reference="0",
        ours="1",
    ),
    Difference(
        "gateway-without-dad",
        "choice",
        "The gateway's IPv6 addresses do not wait for duplicate address detection: they are there when "
        "ADD returns.",
        ("* host link cni0 has fd00:1::1/64",),
        ("dad-of-gateway",),
        reference="scope global, tentative",
        ours="scope global",
    ),
    Difference(
        "interface-mtu",
        "choice",
        "Results of 1.1.0 state the MTU of the interfaces; the reference's bridge does not.",
        ("1-ADD answer.interfaces[[]?].mtu",),
        ("newest-*",),
        reference=ABSENT,
        ours="1[45]00",
    ),
    Difference(
        "route-mtu-and-advmss",
        "choice",
        "A route's `mtu` and `advmss` are applied; the reference passes them on and ignores them.",
        ("after-ADD c1 IPv4 route 10.8.0.0/16 *",),
        ("newest-route-mtu", "newest-route-advmss", "route-properties-1.0.0"),
        ours="*, [ma][td][uv]*",
    ),
    Difference(
        "forwarding",
        "choice",
        "With iptables, a masqueraded network's traffic is accepted in FORWARD, so that it passes where the "
        "policy is DROP; connections from "
        "sources that are not behind the bridge are dropped there.",
        ("after-ADD c1 reaches the outside by IPv?",),
        ("masquerade-forward-policy-drop",),
        reference="lost",
        ours="masqueraded",
    ),
    Difference(
        "programs-found-without-path",
        "choice",
        "iptables and nft are looked for in the system's directories too: OCI hooks run with an empty "
        "environment.",
        (_ADD, _CHECK, _DEL, *_STATE),
        ("masquerade-no-iptables",),
        shows=_ADDED | {"after-ADD c1 reaches the outside by IPv4": "masqueraded"},
    ),
    Difference(
        "no-cni-path",
        "choice",
        "CNI_PATH is asked for only when a plugin has to be found in it; the specification has it optional.",
        (_ADD, _CHECK, _DEL, *_STORE),
        ("env-no-path-ipam",),
        shows=_ADDED,
    ),
    Difference(
        "check-order-path",
        "choice",
        "CNI_PATH is asked for only when a plugin has to be found in it; the specification has it optional.",
        ("2-CHECK answer.*",),
        ("env-no-path",),
        ours="[7R]*",
    ),
    Difference(
        "del-is-lenient",
        "choice",
        "DEL looks only at what it needs: arguments, ranges, a hardware address, a CNI_NETNS or a value of "
        "any other key that ADD refuses do not keep it from succeeding, and a runtime is not left with a "
        "container it cannot remove.",
        (_DEL,),
        (
            "args-ignore-unknown-bogus",
            "args-key-in-other-case",
            "args-no-value",
            "args-trailing-semicolon",
            "args-two-equals",
            "args-unknown",
            "args-unknown-not-ignored",
            "args-unknown-two",
            "bridge-name-number",
            "dns-string",
            "hairpin-mode-string",
            "ipam-data-directory-unusable",
            "ipam-del-with-bad-config",
            "ipam-empty",
            "ipam-fails",
            "ipam-families-mixed",
            "ipam-gateway-bogus",
            "ipam-host-bits",
            "ipam-host-bits-ipv6",
            "ipam-ipv4-mapped",
            "ipam-no-ranges",
            "ipam-overlap-*",
            "ipam-prefix-*",
            "ipam-range-*",
            "ipam-ranges-empty",
            "ipam-request-*",
            "ipam-route-*",
            "ipam-routes-string",
            "ipam-second-set-bad",
            "ipam-string",
            "ipam-subnet-*",
            "ipam-two-addresses-*",
            "ipam-type-number",
            "is-gateway-number",
            "mac-spoof-check-string",
            "mtu-fraction",
            "mtu-string",
            "netns-is-a-directory",
            "netns-is-a-file",
            "requested-address-cni-args-unknown-to-bridge",
            "vlan-4095",
            "vlan-negative",
            "vlan-string",
        ),
        ours="[(0]*",
    ),
    Difference(
        "vanished-containers",
        "choice",
        "Before an ADD fails for want of an address, the addresses of containers whose namespace is gone "
        "are taken back, as is the one that the same container still has from its last life.",
        (_ADD, _CHECK, *_STORE),
        ("ipam-exhausted-by-vanished-container", "ipam-same-container-after-its-namespace"),
        shows={"2-ADD status": "0", "3-CHECK status": "0"},
    ),
    Difference(
        "del-releases-with-bad-ranges",
        "choice",
        "DEL needs no ranges to release an address.",
        ("at-end store *",),
        ("ipam-del-with-bad-config",),
        reference=THERE,
        ours=ABSENT,
    ),
    Difference(
        "relative-data-directory",
        "choice",
        "A relative `dataDir` is refused: it is another directory for each caller, two of which would give "
        "out the same address.",
        (_ADD, _DEL, *_STORE),
        ("ipam-data-directory-relative",),
        shows={"1-ADD status": "1", "1-ADD answer.code": "7"},
    ),
    Difference(
        "nothing-made-for-nothing",
        "choice",
        "The store's directory, lock and last address are made by an ADD that gives an address, not by "
        "calls that find nothing to do or are refused.",
        _STORE,
        (
            "bridge-name-*",
            "del-never-added",
            "del-of-other-network",
            "env-empty-netns",
            "env-no-netns",
            "hairpin-and-promiscuous-mode",
            "ifname-is-bridge",
            "ifname-lo",
            "ipam-check-without-lease",
            "ipam-del-unknown",
            "ipam-request-*",
            "ipam-resolv-conf-*",
            "mac-*",
            "mtu-too-large",
            "mtu-too-small",
            "netns-missing",
            "prev-result-other-version",
            "requested-address-out-of-range",
            "status-*",
            "verb-check-never-added",
        ),
        reference=THERE,
        ours=ABSENT,
    ),
    Difference(
        "addresses-first",
        "choice",
        "The IPAM plugin is asked before links are made, so that the firewall's rules can be made "
        "meanwhile; a failure after that has left the store's directory and the last address that was "
        "given.",
        _STORE,
        (
            "bridge-is-tunnel",
            "bridge-name-lo",
            "masquerade-backend-unknown",
            "preserve-default-vlan-with-vlan",
            "vlan",
            "vlan-gateway",
            "vlan-trunk",
            "vlan-trunk-range",
        ),
        reference=ABSENT,
        ours=THERE,
    ),
    Difference(
        "forwarding-after-failure",
        "choice",
        "Forwarding, once switched on, is left on by an ADD that fails: other networks may have come to "
        "need it.",
        ("* host sysctl ipv4/ip_forward",),
        ("route-refused-masquerade",),
        reference="0",
        ours="1",
    ),
    Difference(
        "empty-bridge-name",
        "choice",
        "An empty `bridge` means the default, as an absent one does.",
        (),
        (),
    ),
    Difference(
        "refused-before-the-kernel",
        "choice",
        "Names of bridges, MTUs and hardware addresses that the kernel would refuse are refused before "
        "anything is done, with a sentence that names the value.",
        ("1-ADD answer.msg",),
        (
            "bridge-name-16-characters",
            "bridge-name-with-slash",
            "bridge-name-with-space",
            "mac-eight-bytes",
            "mac-multicast",
            "mtu-too-large",
            "mtu-too-small",
        ),
    ),
    Difference(
        "route-scope",
        "newer",
        "A route's `scope` is applied.",
        ("after-ADD c1 IPv4 route 10.8.0.0/16 *",),
        ("newest-route-scope",),
        ours="scope link",
    ),
)
