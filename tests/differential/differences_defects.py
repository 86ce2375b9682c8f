"""What is a defect in the reference and works with shibafu."""

from differential.case import ABSENT
from differential.comparison import THERE
from differential.difference import Difference

_ADD = "?-ADD *"
_CHECK = "?-CHECK *"
_DEL = "?-DEL *"
_STORE = ("after-ADD store *", "at-end store *")
_STATE = ("after-ADD *", "at-end *")
_ADDED = {"1-ADD status": "0", "2-CHECK status": "0", "3-DEL status": "0"}
_ADDED_LATER = {"2-ADD status": "0", "3-CHECK status": "0", "4-DEL status": "0"}

DEFECTS = (
    Difference(
        "failed-add-leaves-links",
        "defect",
        "A failed ADD leaves nothing behind. The reference leaves the bridge and the veth pair, so that a"
        " second attempt fails because the interface exists.",
        ("* link *",),
        (
            "cni-path-without-plugin",
            "exhausted",
            "exhausted-masquerade",
            "full-second-set",
            "full-set",
            "ifname-is-bridge",
            "ifname-is-veth",
            "ifname-lo",
            "ipam-fails",
            "ipam-not-installed",
            "ipam-path-as-type",
            "ipam-without-addresses",
            "bridge-has-gateway-other-prefix",
            "bridge-has-ipv6-address-of-same-subnet",
            "bridge-has-other-address",
            "bridge-has-other-subnet",
            "mac-eight-bytes",
            "mac-invalid",
            "mac-invalid-args-cni",
            "mac-invalid-cni-args",
            "mac-multicast",
            "netns-is-a-directory",
            "netns-is-a-file",
            "netns-missing",
            "requested-address-out-of-range",
            "route-gw-unreachable",
            "route-refused-masquerade",
            "two-networks-one-bridge",
            "version-0.1.0-layer-2",
            "version-0.2.0-layer-2",
        ),
        reference=THERE,
        ours=ABSENT,
    ),
    Difference(
        "retry-after-failed-add",
        "defect",
        "A failed ADD leaves nothing behind, so that the next one succeeds once the cause is removed.",
        (_ADD, _CHECK, *_STATE),
        ("conflict-then-retry-with-force", "exhausted-then-free"),
        shows=_ADDED_LATER,
    ),
    Difference(
        "del-of-what-failed",
        "defect",
        "DEL after a failed ADD succeeds; the reference fails on what it had not created yet, or tries to"
        " delete what it never created.",
        (_DEL,),
        ("route-refused-masquerade", "ifname-lo"),
        ours="[(0]*",
    ),
    Difference(
        "del-without-netns",
        "defect",
        "DEL also removes links and rules if CNI_NETNS is empty or gone.",
        ("at-end * link *", "at-end host firewall*"),
        (
            "del-empty-netns",
            "del-no-netns",
            "del-empty-netns-masquerade",
            "mac-spoof-check-del-without-netns",
            "masquerade-backend-del-without-netns",
        ),
        reference="[(r]*",
        ours="[(e]*",
    ),
    Difference(
        "del-renamed",
        "defect",
        "DEL also removes a link that was renamed inside the container.",
        ("at-end * link *",),
        ("renamed-inside", "check-link-renamed"),
        reference=THERE,
        ours=ABSENT,
    ),
    Difference(
        "del-deletes-only-its-own",
        "defect",
        "DEL does not touch what this network did not create, even if it has the name of the container's "
        "interface.",
        ("at-end * link *", "at-end c1 *"),
        ("ifname-is-bridge", "ifname-is-veth", "check-link-replaced", "del-of-other-network"),
        reference=ABSENT,
    ),
    Difference(
        "same-container-twice",
        "defect",
        "Two attachments of a container to the same network are independent; the DEL of the first "
        "succeeds and keeps the rules of the second.",
        ("3-DEL *",),
        ("two-interfaces-masquerade",),
        ours="[(0]*",
    ),
    Difference(
        "del-after-flush",
        "defect",
        "DEL succeeds if the rules have already been removed.",
        ("4-DEL *",),
        ("check-masquerade-gone",),
        ours="[(0]*",
    ),
    Difference(
        "check-of-layer-2",
        "defect",
        "CHECK works on a network without IPAM; the reference's always fails.",
        ("2-CHECK *",),
        (
            "*layer-2*",
            "container-interface-disabled",
            "mac-cni-args-known-only",
        ),
        reference="[19n]*",
        ours="[(0]*",
        shows={"2-CHECK status": "0"},
    ),
    Difference(
        "forwards-when-add-returns",
        "defect",
        "ADD returns once the bridge forwards for the container; on a network without IPAM the reference "
        "does not wait for that, and the container's first packets may be lost.",
        ("after-ADD host link port(*) port state",),
        ("*layer-2*", "bridge-address-with-new-port", "json-not-utf-8-escape", "mac-cni-args-known-only"),
        reference="disabled",
        ours="forwarding",
        by_chance=True,
    ),
    Difference(
        "check-sees-more",
        "defect",
        "CHECK notices missing rules, gateway addresses and forwarding, hairpin mode that is off, and a "
        "bridge that is down.",
        ("3-CHECK *",),
        (
            "check-bridge-down",
            "check-forwarding-off",
            "check-gateway-address-gone",
            "check-hairpin-off",
            "check-ipv6-forwarding-off",
            "check-masquerade-gone",
        ),
        reference="[(0]*",
        shows={"3-CHECK status": "1", "3-CHECK answer.code": "104"},
    ),
    Difference(
        "own-namespace",
        "defect",
        "A CNI_NETNS that is the host's namespace is refused before anything is done, not after.",
        (_ADD, *_STATE),
        ("netns-is-the-hosts", "netns-is-own-process"),
        shows={"1-ADD status": "1", "1-ADD answer.code": "8"},
    ),
    Difference(
        "routes-twice",
        "defect",
        "A route that already exists is not a failure: an IPAM plugin may return the default route in "
        "addition to isDefaultGateway.",
        (),
        (),
    ),
    Difference(
        "default-routes-of-several-networks",
        "defect",
        "Of a container's default routes that of eth0 counts, and that of the next interface when eth0 is "
        "gone: each has a metric of its own. The reference's have the same, so that the last one counts in "
        "IPv4, and all of them in IPv6.",
        ("2-ADD answer.routes[[]0].priority", "* c1 IPv4 route default table main dev *[!0]"),
        ("two-default-routes", "default-route-elsewhere-in-container"),
        ours="*102[45]",
    ),
    Difference(
        "routes-with-host-bits",
        "defect",
        "A route to 10.8.0.7/16 leads to 10.8.0.0/16; with the reference, the kernel refuses it.",
        (),
        (),
    ),
    Difference(
        "several-subnets",
        "defect",
        "A network may have several subnets of one family, each with its gateway on the bridge; the "
        "reference treats its own first address as a conflict.",
        (_ADD, _CHECK, *_STATE),
        ("gateway-two-subnets", "default-gateway-two-subnets"),
        shows=_ADDED
        | {"after-ADD host link cni0 has 10.1.0.1/24": "*", "after-ADD c1 link eth0 has 10.2.0.2/24": "*"},
    ),
    Difference(
        "ipv6-switched-off",
        "defect",
        "IPv6 is turned on for the bridge, as for the container's link, if it is off by default.",
        (_ADD, _CHECK, *_STATE),
        ("ipv6-switched-off-by-default",),
        shows=_ADDED | {"after-ADD host link cni0 sysctl ipv6/conf/[*]/disable_ipv6": "0"},
    ),
    Difference(
        "negative-mtu",
        "defect",
        "A negative MTU is refused; the reference ignores it.",
        (_ADD, _CHECK, *_STATE),
        ("mtu-negative",),
        shows={"1-ADD status": "1", "1-ADD answer.msg": "invalid mtu -5"},
    ),
    Difference(
        "pinned-bridge-address",
        "defect",
        "The bridge keeps its hardware address when ports come and go; the reference's changes.",
        ("* host link cni0 address", "2-ADD answer.interfaces[[]0].mac"),
        ("bridge-address-with-new-port",),
        reference="02:00:00:00:00:01",
        ours="[ct]h[oe]*",
    ),
    Difference(
        "broadcast-address",
        "defect",
        "The broadcast address of a subnet is never given out, and a range of it alone is refused; the "
        "reference gives it out.",
        (_ADD, _CHECK, *_STORE),
        (
            "ipam-range-up-to-broadcast",
            "ipam-range-end-is-broadcast",
            "ipam-range-of-broadcast",
            "ipam-request-broadcast-in-range",
        ),
        shows={"*-ADD status": "1"},
    ),
    Difference(
        "network-address",
        "defect",
        "The address of the subnet itself is never given out: older kernels treat it as a broadcast "
        "address, and in IPv6 each router has it. The reference gives it out if a range begins with it.",
        (_ADD, _CHECK, *_STORE),
        ("ipam-range-start-is-network-address",),
        shows=_ADDED | {"1-ADD answer.ips[[]0].address": "10.1.0.2/24"},
    ),
    Difference(
        "route-without-destination",
        "defect",
        "A route without a destination is refused; the reference passes `<nil>` on.",
        (_ADD, *_STORE),
        ("ipam-route-without-dst",),
        shows={"1-ADD status": "1", "1-ADD answer.msg": "invalid CIDR address: "},
    ),
    Difference(
        "interface-name-pattern",
        "defect",
        "An interface name with % in it is refused, because the kernel treats it as a pattern. The "
        "reference creates a link with another name, does not find it, and leaves it behind.",
        ("1-ADD answer.msg", "2-CHECK answer.msg", *_STATE),
        ("ifname-pattern",),
        shows={"1-ADD status": "1", "1-ADD answer.msg": "interface name contains %", "3-DEL status": "0"},
    ),
    Difference(
        "null-among-routes",
        "defect",
        "Null among routes is ignored; the reference copies it to the result.",
        ("1-ADD answer.routes*",),
        ("ipam-routes-null",),
        shows={"1-ADD status": "0", "1-ADD answer.routes[[]0].dst": "10.8.0.0/16"},
    ),
    Difference(
        "null-as-address",
        "defect",
        "Null in place of a requested address is refused; the reference crashes.",
        ("1-ADD *",),
        ("ipam-request-args-cni-null",),
        shows={"1-ADD status": "1", "1-ADD answer.code": "7"},
    ),
    Difference(
        "subnet-of-all",
        "defect",
        "0.0.0.0/0 is a subnet like any other; the reference finds no address in it.",
        (_ADD, _CHECK, *_STORE),
        ("ipam-prefix-0",),
        shows=_ADDED | {"1-ADD answer.ips[[]0].address": "0.0.0.2/0"},
    ),
    Difference(
        "torn-lease",
        "defect",
        "An empty lease file, left by a crash, does not lose its address.",
        (_ADD, _CHECK, *_STORE),
        ("ipam-lease-empty",),
        shows=_ADDED | {"1-ADD answer.ips[[]0].address": "10.1.0.2/30"},
    ),
)
