"""The keys and arguments of host-local, called by itself."""

from collections.abc import Mapping

from differential.case import LIFE, REFUSED, Call, Case, Shell
from differential.samples import ONE, R4, R6, V4, V6, adds, host, ipam, lease

_BIG6: dict[str, object] = {"subnet": "2001:db8:1::/48"}
_RESOLV_CONF = "/run/resolv.conf"
_OTHER_NETNS = {"CNI_NETNS": "/run/netns/gone"}
_VANISHED = (host("ip netns del gone"),)
_REQUEST = {"CNI_ARGS": "IP=10.1.0.77"}


def _case(
    name: str,
    ipam_section: object,
    calls: tuple[Call, ...] = LIFE,
    env: Mapping[str, str | None] | None = None,
    setup: tuple[Shell, ...] = (),
    **keys: object,
) -> Case:
    return Case(f"ipam-{name}", {"ipam": ipam_section} | keys, "host-local", calls, env or {}, setup)


RANGES = (
    _case("subnet", {"type": "host-local", "subnet": "10.1.0.0/24"}),
    _case("subnet-ipv6", {"type": "host-local", "subnet": "fd00:1::/64"}),
    _case(
        "subnet-all-keys",
        {
            "subnet": "10.1.0.0/24",
            "rangeStart": "10.1.0.10",
            "rangeEnd": "10.1.0.20",
            "gateway": "10.1.0.254",
        },
    ),
    _case("subnet-and-ranges", {"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]}),
    _case("ranges", V4),
    _case("ranges-ipv6", V6),
    _case("ranges-dual-stack", ipam(R4, R6)),
    _case("ranges-three-sets", ipam(R4, R6, {"subnet": "10.2.0.0/24"})),
    _case(
        "range-start-and-end",
        ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.11"}),
    ),
    _case(
        "range-of-one-address",
        ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.9"}),
    ),
    _case("range-start-is-gateway", ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.1"})),
    _case("range-up-to-broadcast", ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.255"})),
    _case(
        "range-end-is-broadcast",
        ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.254", "rangeEnd": "10.1.0.255"}),
        (*adds("c1", "c2"), Call("DEL", "c2"), Call("DEL")),
    ),
    _case(
        "range-of-broadcast",
        ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.255", "rangeEnd": "10.1.0.255"}),
    ),
    _case("range-start-is-network-address", ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.0"})),
    _case("prefix-30", ONE, calls=(*adds("c1", "c2"), Call("DEL"), Call("DEL", "c2"))),
    _case("prefix-31", ipam({"subnet": "10.1.0.0/31"}), REFUSED),
    _case("prefix-32", ipam({"subnet": "10.1.0.0/32"}), REFUSED),
    _case("prefix-126", ipam({"subnet": "fd00:1::/126"}), calls=adds("c1", "c2", "c3")),
    _case("prefix-127", ipam({"subnet": "fd00:1::/127"}), REFUSED),
    _case("prefix-128", ipam({"subnet": "fd00:1::/128"}), REFUSED),
    _case("prefix-0", ipam({"subnet": "0.0.0.0/0"})),
    _case("prefix-8", ipam({"subnet": "10.0.0.0/8"})),
    _case("prefix-48-ipv6", ipam(_BIG6)),
    _case("gateway", ipam({"subnet": "10.1.0.0/24", "gateway": "10.1.0.254"})),
    _case(
        "gateway-is-last",
        ipam({"subnet": "10.1.0.0/29", "gateway": "10.1.0.6"}),
        adds("c1", "c2", "c3", "c4"),
    ),
    _case(
        "gateway-is-only-address",
        ipam(
            {
                "subnet": "10.1.0.0/24",
                "rangeStart": "10.1.0.9",
                "rangeEnd": "10.1.0.9",
                "gateway": "10.1.0.9",
            }
        ),
    ),
    _case("gateway-outside-subnet", ipam({"subnet": "10.1.0.0/24", "gateway": "10.9.0.1"})),
    _case("gateway-of-other-family", ipam({"subnet": "10.1.0.0/24", "gateway": "fd00::1"})),
    _case(
        "two-ranges-in-a-set",
        ipam([{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]),
        adds("c1", "c2", "c3"),
    ),
    _case("runtime-config-ranges", {"type": "host-local"}, runtimeConfig={"ipRanges": [[R4], [R6]]}),
    _case("runtime-config-ranges-first", V4, runtimeConfig={"ipRanges": [[{"subnet": "10.2.0.0/24"}]]}),
    _case(
        "runtime-config-ranges-all-three",
        {"subnet": "10.3.0.0/24", "ranges": [[R4]]},
        runtimeConfig={"ipRanges": [[{"subnet": "10.2.0.0/24"}]]},
    ),
    _case("ipv4-mapped", ipam({"subnet": "::ffff:10.1.0.0/120"})),
    _case("ipv6-uncompressed", ipam({"subnet": "fd00:0001:0000:0000:0000:0000:0000:0000/64"})),
    _case("ipv6-upper-case", ipam({"subnet": "FD00:ABCD::/64"})),
)

REFUSALS = (
    _case("absent", None, REFUSED),
    _case("empty", {}, REFUSED),
    _case("no-ranges", {"type": "host-local"}, REFUSED),
    _case("ranges-empty", {"ranges": []}, REFUSED),
    _case("range-set-empty", {"ranges": [[]]}, REFUSED),
    _case("range-without-subnet", {"ranges": [[{}]]}, REFUSED),
    _case("range-set-not-a-list", {"ranges": [{"subnet": "10.1.0.0/24"}]}, REFUSED),
    _case("subnet-number", {"subnet": 7}, REFUSED),
    _case("subnet-bogus", {"subnet": "bogus"}, REFUSED),
    _case("subnet-without-prefix", {"subnet": "10.1.0.0"}, REFUSED),
    _case("subnet-prefix-too-long", {"subnet": "10.1.0.0/33"}, REFUSED),
    _case("subnet-leading-zero", {"subnet": "10.01.0.0/24"}, REFUSED),
    _case("host-bits", ipam({"subnet": "10.1.0.7/24"}), REFUSED),
    _case("host-bits-ipv6", ipam({"subnet": "fd00:1::7/64"}), REFUSED),
    _case("gateway-bogus", {"subnet": "10.1.0.0/24", "gateway": "bogus"}, REFUSED),
    _case("range-start-bogus", {"subnet": "10.1.0.0/24", "rangeStart": "bogus"}, REFUSED),
    _case("range-start-outside", {"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.9"}, REFUSED),
    _case("range-end-outside", {"subnet": "10.1.0.0/24", "rangeEnd": "10.2.0.9"}, REFUSED),
    _case(
        "range-start-after-end",
        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"},
        REFUSED,
    ),
    _case("families-mixed", {"ranges": [[R4, R6]]}, REFUSED),
    _case("overlap-in-a-set", {"ranges": [[R4, {"subnet": "10.1.0.0/25"}]]}, REFUSED),
    _case("overlap-between-sets", ipam(R4, {"subnet": "10.1.0.0/16"}), REFUSED),
    _case("second-set-bad", ipam(R4, {"subnet": "10.2.0.9/24"}), REFUSED),
    _case("route-bogus", ipam(R4, routes=[{"dst": "bogus"}]), REFUSED),
    _case("route-gw-bogus", ipam(R4, routes=[{"dst": "10.8.0.0/16", "gw": "bogus"}]), REFUSED),
    _case("route-without-dst", ipam(R4, routes=[{"gw": "10.1.0.1"}]), REFUSED),
    _case("routes-string", ipam(R4, routes="bogus"), REFUSED),
    _case("resolv-conf-zero", ipam(R4, resolvConf="a\0b"), REFUSED),
    _case("resolv-conf-half-a-pair", ipam(R4, resolvConf="/\ud800"), REFUSED),
    _case("resolv-conf-missing", ipam(R4, resolvConf="/nowhere/resolv.conf"), REFUSED),
    _case("two-addresses-0.2.0", ipam(R4, {"subnet": "10.2.0.0/24"}), REFUSED, cniVersion="0.2.0"),
    _case("two-addresses-0.1.0-ipv6", ipam(R6, {"subnet": "fd00:2::/64"}), REFUSED, cniVersion="0.1.0"),
    _case("section-string", "host-local", REFUSED),
)

VERSIONS = tuple(
    _case(
        f"version-{version}",
        ipam(R4, R6, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:1::1"}]),
        cniVersion=version,
    )
    for version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
)

REQUESTS = (
    _case("request-cni-args", V4, env=_REQUEST),
    _case("request-cni-args-ipv6", V6, env={"CNI_ARGS": "IP=fd00:1::77"}),
    _case("request-cni-args-prefix", V4, env={"CNI_ARGS": "IP=10.1.0.77/24"}),
    _case("request-cni-args-bogus", V4, REFUSED, env={"CNI_ARGS": "IP=bogus"}),
    _case("request-cni-args-empty", V4, env={"CNI_ARGS": "IP="}),
    _case("request-args-cni", V4, args={"cni": {"ips": ["10.1.0.77"]}}),
    _case("request-args-cni-prefix", V4, args={"cni": {"ips": ["10.1.0.77/24"]}}),
    _case("request-args-cni-null", V4, REFUSED, args={"cni": {"ips": [None]}}),
    _case("request-args-cni-bogus", V4, REFUSED, args={"cni": {"ips": ["bogus"]}}),
    _case("request-runtime-config", V4, runtimeConfig={"ips": ["10.1.0.77"]}),
    _case("request-runtime-config-prefix", V4, runtimeConfig={"ips": ["10.1.0.77/24"]}),
    _case("request-runtime-config-bogus", V4, REFUSED, runtimeConfig={"ips": ["bogus"]}),
    _case("request-runtime-config-string", V4, REFUSED, runtimeConfig={"ips": "10.1.0.77"}),
    _case("request-both-families", ipam(R4, R6), runtimeConfig={"ips": ["fd00:1::77", "10.1.0.77"]}),
    _case(
        "request-from-three-places",
        ipam(R4, R6, {"subnet": "10.2.0.0/24"}),
        env=_REQUEST,
        args={"cni": {"ips": ["10.2.0.77"]}},
        runtimeConfig={"ips": ["fd00:1::77"]},
    ),
    _case("request-same-set-twice", V4, env=_REQUEST, args={"cni": {"ips": ["10.1.0.78"]}}),
    _case("request-same-address-twice", V4, env=_REQUEST, args={"cni": {"ips": ["10.1.0.77"]}}),
    _case("request-out-of-range", V4, env={"CNI_ARGS": "IP=10.2.0.77"}),
    _case(
        "request-outside-range-start",
        ipam({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}),
        env=_REQUEST,
    ),
    _case("request-gateway", V4, env={"CNI_ARGS": "IP=10.1.0.1"}),
    _case("request-network-address", V4, env={"CNI_ARGS": "IP=10.1.0.0"}),
    _case("request-broadcast", V4, env={"CNI_ARGS": "IP=10.1.0.255"}),
    _case(
        "request-broadcast-in-range",
        ipam({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.255"}),
        env={"CNI_ARGS": "IP=10.1.0.255"},
    ),
    _case("request-taken", V4, env=_REQUEST, setup=lease("10.1.0.77")),
    _case(
        "request-taken-second-set",
        ipam({"subnet": "10.2.0.0/24"}, R4),
        env=_REQUEST,
        setup=lease("10.1.0.77"),
    ),
    _case(
        "request-second-time",
        V4,
        calls=(Call("ADD"), Call("ADD", ifname="eth1"), Call("ADD"), Call("DEL")),
        env=_REQUEST,
    ),
    _case("request-unknown-argument", V4, env={"CNI_ARGS": "GATEWAY=10.1.0.9"}),
    _case("request-key-in-other-case", V4, env={"CNI_ARGS": "ip=10.1.0.77"}),
    _case("request-podman", V4, env={"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=b;IP=10.1.0.77"}),
)

ROUTES_AND_DNS = (
    _case("routes", ipam(R4, routes=[{"dst": "10.8.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.1.0.9"}])),
    _case("routes-host-bits", ipam(R4, routes=[{"dst": "10.8.0.7/16"}])),
    _case("routes-null", ipam(R4, routes=[None, {"dst": "10.8.0.0/16"}])),
    _case("routes-empty", ipam(R4, routes=[])),
    _case(
        "resolv-conf",
        ipam(R4, resolvConf=_RESOLV_CONF),
        setup=(
            host(
                rf"printf '# comment\nnameserver 10.1.0.53\nnameserver fd00::53\ndomain a.example\n"
                rf"search b.example c.example\noptions ndots:2 rotate\n; comment\n\n' > {_RESOLV_CONF}"
            ),
        ),
    ),
    _case("resolv-conf-empty", ipam(R4, resolvConf=_RESOLV_CONF), setup=(host(f": > {_RESOLV_CONF}"),)),
    _case(
        "resolv-conf-odd",
        ipam(R4, resolvConf=_RESOLV_CONF),
        setup=(
            host(rf"printf 'nameserver\n  nameserver  10.1.0.53 \nunknown x\n' > {_RESOLV_CONF}"),
            host(rf"printf 'search\tb.example\n' >> {_RESOLV_CONF}"),
        ),
    ),
    _case("data-directory", ipam(R4, dataDir="/var/lib/cni/elsewhere")),
    _case("data-directory-relative", ipam(R4, dataDir="../" * 16 + "var/lib/cni/elsewhere"), REFUSED),
    _case("data-directory-unusable", ipam(R4, dataDir="/proc/nowhere"), REFUSED),
    _case("dns-of-network-is-not-ipams", V4, dns={"nameservers": ["10.1.0.53"]}),
)

STORE = (
    _case("round-robin", V4, calls=(*adds("c1", "c2"), Call("DEL"), *adds("c3", "c1"))),
    _case(
        "wraps-around",
        ipam({"subnet": "10.1.0.0/29"}),
        calls=(
            *adds("c1", "c2", "c3", "c4", "c5"),
            Call("DEL", "c2"),
            Call("DEL", "c4"),
            *adds("c6", "c7"),
        ),
    ),
    _case("last-reserved-address-out-of-range", V4, setup=lease("last_reserved_ip.0", "10.9.0.7")),
    _case("last-reserved-address-bogus", V4, setup=lease("last_reserved_ip.0", "bogus")),
    _case("last-reserved-address", V4, setup=lease("last_reserved_ip.0", "10.1.0.99")),
    _case("exhausted", ONE, setup=lease("10.1.0.2")),
    _case("exhausted-second-set", ipam(R4, {"subnet": "10.2.0.0/30"}), setup=lease("10.2.0.2")),
    _case(
        "exhausted-of-two-ranges",
        ipam([{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]),
        setup=(*lease("10.1.0.2"), *lease("10.2.0.2")),
    ),
    _case(
        "exhausted-by-vanished-container",
        ONE,
        calls=(
            Call("ADD", env=_OTHER_NETNS),
            Call("ADD", "c2", before=_VANISHED),
            Call("CHECK", "c2"),
        ),
        setup=(host("ip netns add gone"),),
    ),
    _case(
        "same-container-after-its-namespace",
        V4,
        calls=(Call("ADD", env=_OTHER_NETNS), Call("ADD", before=_VANISHED), Call("CHECK")),
        setup=(host("ip netns add gone"),),
    ),
    _case("others-leases", V4, setup=(*lease("10.1.0.2"), *lease("10.1.0.3"), *lease("10.1.0.5"))),
    _case("own-lease-there", V4, setup=lease("10.1.0.9", r"c1\r\neth0")),
    _case("own-lease-of-other-interface", V4, setup=lease("10.1.0.9", r"c1\r\neth1")),
    _case(
        "old-lease-without-interface",
        V4,
        calls=(Call("CHECK"), Call("DEL"), Call("ADD")),
        setup=lease("10.1.0.9", "c1"),
    ),
    _case(
        "lease-with-spaces",
        V4,
        calls=(Call("CHECK"), Call("DEL")),
        setup=lease("10.1.0.9", r"c1\r\neth0\r\n "),
    ),
    _case(
        "lease-with-line-feed-only",
        V4,
        calls=(Call("CHECK"), Call("DEL")),
        setup=lease("10.1.0.9", r"c1\neth0"),
    ),
    _case("lease-empty", ONE, setup=lease("10.1.0.2", "")),
    _case("entry-is-a-directory", V4, setup=(host("mkdir -p /var/lib/cni/networks/net/10.1.0.2"),)),
    _case("entry-is-a-link", V4, setup=(*lease("x"), host("ln -s x /var/lib/cni/networks/net/10.1.0.2"))),
    _case("stray-file", V4, setup=lease("notes.txt", "x")),
    _case("check-without-lease", V4, calls=(Call("CHECK"),)),
    _case(
        "check-lost-lease",
        V4,
        calls=(
            Call("ADD"),
            Call("CHECK", before=(host("rm /var/lib/cni/networks/net/10.1.0.2"),)),
            Call("DEL"),
        ),
    ),
    _case("del-unknown", V4, calls=(Call("DEL"),)),
    _case("del-other-interface", V4, calls=(Call("ADD"), Call("DEL", ifname="eth1"), Call("CHECK"))),
    _case("same-container-twice", V4, calls=(*adds("c1", "c1"), Call("DEL"), Call("CHECK"))),
    _case(
        "two-interfaces",
        V4,
        calls=(
            Call("ADD"),
            Call("ADD", ifname="eth1"),
            Call("DEL"),
            Call("CHECK", ifname="eth1"),
            Call("DEL", ifname="eth1"),
        ),
    ),
    _case(
        "two-networks",
        V4,
        calls=(
            Call("ADD"),
            Call("ADD", config={"name": "other"}, ifname="eth1"),
            Call("DEL"),
            Call("CHECK", config={"name": "other"}, ifname="eth1"),
        ),
    ),
    _case("no-netns", V4, env={"CNI_NETNS": "/nowhere"}),
    _case("del-with-bad-config", V4, calls=(Call("ADD"), Call("DEL", config={"ipam": {"subnet": "bogus"}}))),
)

CASES = RANGES + REFUSALS + VERSIONS + REQUESTS + ROUTES_AND_DNS + STORE
