"""shibafu-tuning's configurations, and shibafu-loopback's."""

from differential.case import LIFE, Call, Case
from differential.samples import inside
from differential.samples_chained import (
    ONCE,
    SHORT_LIFE,
    chained,
    damaged,
    odd_results,
    of_version,
    refused,
    result,
)

_MAC = "02:00:00:00:00:07"
_NAME = "net.ipv4.conf.IFNAME.arp_notify"
_SYSCTL = {"sysctl": {_NAME: "1"}}
_ALL = {"mac": _MAC, "mtu": 1400, "promisc": True, "allmulti": True} | _SYSCTL

TUNING = (
    chained("tuning", "nothing", {}),
    chained("tuning", "mac", {"mac": _MAC}, LIFE),
    chained("tuning", "mac-upper-case", {"mac": "02:00:00:00:00:AB"}),
    chained("tuning", "mtu", {"mtu": 1400}),
    chained("tuning", "mtu-0", {"mtu": 0}),
    chained("tuning", "promisc", {"promisc": True}),
    chained("tuning", "allmulti", {"allmulti": True}),
    chained("tuning", "sysctl", _SYSCTL),
    chained("tuning", "sysctl-slashes", {"sysctl": {"net/ipv4/conf/eth0/arp_notify": "1"}}),
    chained("tuning", "all-in-a-directory", _ALL | {"dataDir": "/var/lib/cni/tuning"}),
    chained("tuning", "other-case", {"MTU": 1400, "Promisc": True}),
    chained("tuning", "mac-by-args", {"mac": "02:00:00:00:00:08"}, env={"CNI_ARGS": f"MAC={_MAC}"}),
    chained("tuning", "mac-by-capability", {"mac": "02:00:00:00:00:08", "runtimeConfig": {"mac": _MAC}}),
    chained(
        "tuning",
        "args-cni",
        {"mtu": 1300, "args": {"cni": {"mtu": 1400, "mac": _MAC, "promisc": True, "allmulti": True}}},
    ),
    chained("tuning", "args-cni-sysctl", {"sysctl": {_NAME: "0"}, "args": {"cni": _SYSCTL}}),
    chained("tuning", "args-cni-sysctl-alone", {"args": {"cni": _SYSCTL}}, ONCE),
    chained("tuning", "txqlen", {"txQLen": 77}, documented={"after-ADD c1 link eth0 queue": "77"}),
    chained(
        "tuning",
        "args-cni-txqlen",
        {"args": {"cni": {"txQLen": 77}}},
        documented={"after-ADD c1 link eth0 queue": "77"},
    ),
    chained(
        "tuning", "del-without-result", {"mtu": 1400}, (Call("ADD"), Call("DEL", config={"prevResult": None}))
    ),
    chained("tuning", "del-without-netns", {"mtu": 1400}, (Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    chained("tuning", "del-never-added", {"mtu": 1400}, (Call("DEL"),)),
    chained(
        "tuning", "check-mac", {"mac": _MAC}, damaged(inside("ip link set eth0 address 02:00:00:00:00:09"))
    ),
    chained("tuning", "check-mtu", {"mtu": 1400}, damaged(inside("ip link set eth0 mtu 1300"))),
    chained("tuning", "check-promisc", {"promisc": True}, damaged(inside("ip link set eth0 promisc off"))),
    chained(
        "tuning", "check-allmulti", {"allmulti": True}, damaged(inside("ip link set eth0 allmulticast off"))
    ),
    chained(
        "tuning",
        "check-sysctl",
        _SYSCTL,
        damaged(inside("echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_notify")),
    ),
    refused("tuning", "mac-malformed", {"mac": "zz"}),
    refused("tuning", "mac-multicast", {"mac": "01:00:00:00:00:01"}),
    refused("tuning", "mac-number", {"mac": 5}),
    refused("tuning", "mtu-text", {"mtu": "1400"}),
    refused("tuning", "mtu-negative", {"mtu": -1}),
    refused("tuning", "mtu-too-large", {"mtu": 70000}),
    refused("tuning", "promisc-text", {"promisc": "yes"}),
    refused("tuning", "sysctl-outside-net", {"sysctl": {"kernel.shmmax": "1"}}),
    refused("tuning", "sysctl-climbs-out", {"sysctl": {"net/../kernel/shmmax": "1"}}),
    refused("tuning", "sysctl-unknown", {"sysctl": {"net.nope": "1"}}),
    refused("tuning", "sysctl-value", {"sysctl": {"net.ipv4.ip_forward": "zz"}}),
    refused("tuning", "sysctl-number", {"sysctl": {_NAME: 1}}),
    refused("tuning", "sysctl-twice", {"sysctl": {"net.core.somaxconn": "5", "net/core/somaxconn": "6"}}),
    refused("tuning", "no-result", {"prevResult": None}),
    refused("tuning", "no-interface", {"mtu": 1400}, env={"CNI_IFNAME": "eth7"}),
    refused("tuning", "args-unknown", {}, env={"CNI_ARGS": "FOO=1"}),
    of_version("tuning", "0.3.1", {"mac": _MAC}),
    of_version("tuning", "0.4.0", {"mac": _MAC}),
    *odd_results("tuning", {"mac": _MAC}),
)


def _loopback(name: str, calls: tuple[Call, ...] = SHORT_LIFE, **config: object) -> Case:
    return Case(f"loopback-{name}", {"type": "loopback"} | config, "loopback", calls, {"CNI_IFNAME": "lo"})


LOOPBACK = (
    *(
        _loopback(f"version-{version}", (Call("ADD"), Call("DEL")), cniVersion=version)
        for version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0")
    ),
    _loopback("alone", LIFE),
    _loopback("other-interface", (Call("ADD", ifname="eth0"), Call("DEL"))),
    _loopback("after-another-plugin", prevResult=result()),
    _loopback("check-down", damaged(inside("ip link set lo down"))),
    _loopback("check-never-added", (Call("CHECK", config={"prevResult": result()}),)),
    _loopback("del-without-netns", (Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    _loopback("del-namespace-gone", (Call("DEL", env={"CNI_NETNS": "/run/netns/gone"}),)),
    _loopback("namespace-gone", (Call("ADD", env={"CNI_NETNS": "/run/netns/gone"}),)),
    _loopback("not-json", (Call("ADD", stdin="{"),)),
)
CASES = (*TUNING, *LOOPBACK)
