"""What differs between the chained plugins and the reference's, with its reason."""

from differential.case import ABSENT
from differential.difference import Difference

_RESULT = ("* answer.interfaces*", "* answer.ips*", "* answer.code", "* answer.msg", "* status")

LOOPBACK = (
    Difference(
        "loopback-result-of-version",
        "defect",
        "Before version 1.0.0, the result has the shape that the version requires.",
        ("1-ADD answer.interfaces*", "1-ADD answer.ip*"),
        tuple(f"loopback-version-{version}" for version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0")),
    ),
    Difference(
        "loopback-netns-message",
        "error",
        "The error for a CNI_NETNS that does not exist is that of the other plugins.",
        ("1-ADD answer.msg",),
        ("loopback-namespace-gone",),
        ours="failed to open netns *",
    ),
)
TUNING = (
    Difference(
        "mac-in-capitals",
        "defect",
        "The result contains the hardware address as the kernel prints it, so that CHECK accepts it.",
        ("1-ADD answer.interfaces[[]2].mac", "2-CHECK *"),
        ("tuning-mac-upper-case",),
        shows={"2-CHECK status": "0"},
    ),
    Difference(
        "check-of-interface-s-sysctl",
        "defect",
        "`IFNAME` in the name of a sysctl stands for the interface in CHECK, as in ADD.",
        ("[23]-CHECK *",),
        (
            "tuning-sysctl",
            "tuning-all-in-a-directory",
            "tuning-args-cni-sysctl",
            "tuning-check-sysctl",
        ),
        shows={"2-CHECK status": "0"},
    ),
    Difference(
        "sysctl-of-args-alone",
        "defect",
        "`args.cni.sysctl` needs no `sysctl` in the configuration; the reference crashes without it.",
        (*_RESULT, "* c1 link eth0 sysctl *"),
        ("tuning-args-cni-sysctl-alone",),
        shows={"1-ADD status": "0"},
    ),
    Difference(
        "sysctl-name-in-error",
        "newer",
        "The error for a sysctl that is not of the network names it as a path.",
        ("1-ADD answer.msg",),
        ("tuning-sysctl-outside-net",),
        ours='invalid net sysctl key: "kernel/shmmax"',
    ),
    Difference(
        "values-before-the-kernel",
        "error",
        "Values that the kernel or iptables would refuse are refused before anything is done, with a message "
        "that names the value.",
        ("1-ADD answer.msg",),
        (
            "tuning-mac-multicast",
            "tuning-mtu-negative",
            "bandwidth-rate-less-than-a-byte",
            "firewall-admin-chain-too-long",
            "portmap-host-port-too-large",
            "portmap-protocol-unknown",
        ),
    ),
    Difference(
        "refusals-with-reasons",
        "error",
        "Refusals by the kernel are reported with its explanation, those of iptables as iptables-restore "
        "words them.",
        ("1-ADD answer.msg",),
        ("tuning-mtu-too-large", "portmap-mark-chain-unknown", "portmap-conditions-unknown"),
        ours="*: *",
    ),
    Difference(
        "directory-of-attributes",
        "choice",
        "The directory of former attributes can be listed by root without CAP_DAC_OVERRIDE.",
        ("* store tuning mode",),
        ("tuning-all-in-a-directory",),
        reference="40600",
        ours="40700",
    ),
    Difference(
        "former-attributes",
        "choice",
        "The file of an interface's former attributes also says which network and which network namespace "
        "it belongs to, so that GC can remove it.",
        ("after-ADD store tuning/c1_eth0.json content",),
        ("tuning-all-in-a-directory",),
        ours='*"network": "net"*',
    ),
)
BANDWIDTH = (
    Difference(
        "queue-of-delay-link",
        "choice",
        "The link that delays what a container sends has the queue length of other links, not that of an "
        "ifb.",
        ("* host link delay queue",),
        ("bandwidth-*",),
        reference=ABSENT,
        ours="1000",
    ),
    Difference(
        "limits-left",
        "defect",
        "DEL removes what ADD has added to the container's link, which may continue to exist.",
        ("at-end host limit of veth0", "at-end host filters of veth0"),
        ("bandwidth-*",),
        ours=ABSENT,
    ),
    Difference(
        "check-without-limits",
        "defect",
        "CHECK of a container without limits succeeds; the reference crashes.",
        ("2-CHECK status",),
        ("bandwidth-nothing", "bandwidth-null"),
        reference="2",
        ours="0",
    ),
    Difference(
        "limits-again",
        "defect",
        "A second ADD changes the limits; the reference's fails.",
        ("2-ADD *",),
        ("bandwidth-twice",),
        shows={"2-ADD status": "0"},
    ),
    Difference(
        "check-of-limits",
        "defect",
        "CHECK notices that nothing limits what the container receives, and that what it sends is not "
        "redirected to the limit.",
        ("3-CHECK *",),
        ("bandwidth-check-no-qdisc", "bandwidth-check-no-filter"),
        shows={"3-CHECK status": "1"},
    ),
    Difference(
        "chosen-burst",
        "choice",
        "A burst is chosen if only a rate is given.",
        (*_RESULT, "* host limit of veth0"),
        ("bandwidth-rate-without-burst",),
        shows={"1-ADD status": "0", "after-ADD host limit of veth0": "rate 2500000, burst 125000, *"},
    ),
)
FIREWALL = (
    Difference(
        "chains-left",
        "defect",
        "DEL of the last container removes the chains, too.",
        ("at-end host firewall",),
        ("firewall-*", "portmap-*"),
        reference="rules",
        ours="empty",
    ),
    Difference(
        "refusal-leaves-rules",
        "defect",
        "A failed ADD leaves no rules, and changes no sysctls.",
        ("after-ADD host firewall", "* host link br0 sysctl ipv4/conf/[*]/route_localnet"),
        (
            "firewall-policy-unknown",
            "firewall-no-interfaces",
            "firewall-admin-chain-too-long",
            "portmap-host-port-too-large",
            "portmap-protocol-unknown",
            "portmap-mark-chain-unknown",
            "portmap-conditions-unknown",
        ),
        reference="[1r]*",
        ours="[0e]*",
    ),
    Difference(
        "check-messages",
        "error",
        "CHECK has its own messages, which say what is missing.",
        ("[13]-CHECK answer.msg",),
        (
            "bandwidth-check-other-rate",
            "firewall-check-flushed",
            "firewall-check-never-added",
            "loopback-check-down",
            "loopback-check-never-added",
            "portmap-check-flushed",
            "portmap-check-never-added",
            "tuning-check-allmulti",
        ),
        reference="[ERcel]*",
    ),
)
PORTMAP = (
    Difference(
        "check-of-two-families",
        "defect",
        "CHECK succeeds for a container with addresses of both families; the reference looks for the rules "
        "of one family among those of the other.",
        ("2-CHECK *",),
        ("portmap-*",),
        shows={"2-CHECK status": "0"},
    ),
    Difference(
        "ports-left",
        "defect",
        "DEL removes the ports if the runtime does not repeat them.",
        ("at-end *",),
        ("portmap-del-without-ports",),
        ours="[ae(]*",
        shows={"at-end host firewall": "empty"},
    ),
    Difference(
        "taken-port",
        "choice",
        "A port that another container has is refused. With the reference, the first container keeps it, and "
        "the second is not told.",
        ("2-ADD *",),
        ("portmap-of-another-container",),
        shows={"2-ADD answer.msg": "port 8080/tcp of the host is taken by container c1 on network net"},
    ),
    Difference(
        "any-free-port",
        "choice",
        "Host port 0 stands for any free port.",
        (*_RESULT, "* answer.portMappings*", "* host firewall", "* host link br0 sysctl *"),
        ("portmap-host-port-0",),
        shows={"1-ADD status": "0", "1-ADD answer.portMappings[[]0].hostPort": "[1-9]*"},
    ),
    Difference(
        "default-protocol",
        "choice",
        "A port without a protocol is one of TCP.",
        (*_RESULT, "* reaches tcp port 8080 of *"),
        ("portmap-no-protocol",),
        shows={"1-ADD status": "0"},
    ),
    Difference(
        "port-ranges",
        "choice",
        "`range` publishes consecutive ports; the reference needs an entry for each.",
        (),
        (),
    ),
    Difference(
        "localnet-for-ipv4",
        "choice",
        "`route_localnet` is not set if no port is published at IPv4 addresses.",
        ("* host link br0 sysctl ipv4/conf/[*]/route_localnet",),
        ("portmap-address-ipv6", "portmap-address-any-ipv6"),
        reference="1",
        ours="0",
    ),
)
RESULTS = (
    Difference(
        "versions-of-result",
        "newer",
        "Results of version 1.1.0 are supported; the error for one that does not go with the configuration's "
        "version lists it.",
        ("1-ADD answer.msg",),
        ("*-result-of-another-version",),
        ours="could not parse prevResult: result type supports [[]1.0.0 1.1.0] *",
    ),
    Difference(
        "where-once",
        "error",
        "The error for a prevResult says once that it is about that.",
        ("1-ADD answer.msg",),
        ("bandwidth-result-bad-address", "firewall-result-bad-address", "portmap-result-bad-address"),
        reference="*could not parse prevResult: could not parse prevResult: *",
        ours="could not parse prevResult: *",
    ),
)
CHAINED = (*RESULTS, *LOOPBACK, *TUNING, *BANDWIDTH, *FIREWALL, *PORTMAP)
