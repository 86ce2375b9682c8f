"""shibafu-bandwidth's configurations."""

from differential.case import LIFE, Call
from differential.samples import host
from differential.samples_chained import PORT, chained, damaged, odd_results, of_version, refused, result

_INGRESS = {"ingressRate": 20_000_000, "ingressBurst": 2_000_000}
_EGRESS = {"egressRate": 10_000_000, "egressBurst": 1_000_000}
_BOTH = _INGRESS | _EGRESS

CASES = (
    chained("bandwidth", "ingress", _INGRESS),
    chained("bandwidth", "egress", _EGRESS),
    chained("bandwidth", "both", _BOTH, LIFE),
    chained("bandwidth", "nothing", {}),
    chained("bandwidth", "zero", dict.fromkeys(_BOTH, 0)),
    chained("bandwidth", "bytes", {"ingressRate": 8, "ingressBurst": 8, "egressRate": 16, "egressBurst": 9}),
    chained("bandwidth", "odd", {"ingressRate": 1_234_567, "ingressBurst": 765_432}),
    chained("bandwidth", "by-capability", {"runtimeConfig": {"bandwidth": _BOTH}}),
    chained(
        "bandwidth",
        "by-cri",
        {
            "runtimeConfig": {
                "bandwidth": {
                    "IngressRate": 20_000_000,
                    "IngressBurst": 4_294_967_295,
                    "EgressRate": 0,
                    "EgressBurst": 0,
                }
            }
        },
    ),
    chained("bandwidth", "stated-and-by-capability", _INGRESS | {"runtimeConfig": {"bandwidth": _EGRESS}}),
    chained("bandwidth", "null", {"ingressRate": None, "runtimeConfig": {"bandwidth": None}}),
    chained("bandwidth", "twice", _BOTH, (Call("ADD"), Call("ADD"), Call("DEL"))),
    chained("bandwidth", "del-without-netns", _BOTH, (Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    chained(
        "bandwidth",
        "del-without-result",
        _BOTH,
        (Call("ADD"), Call("DEL", config={"prevResult": None}, prev_result=False)),
    ),
    chained("bandwidth", "del-never-added", _BOTH, (Call("DEL"),)),
    chained("bandwidth", "check-no-qdisc", _INGRESS, damaged(host(f"tc qdisc del dev {PORT} root"))),
    chained(
        "bandwidth",
        "check-other-rate",
        _INGRESS,
        damaged(host(f"tc qdisc replace dev {PORT} root tbf rate 5mbit burst 64k latency 25ms")),
    ),
    chained("bandwidth", "check-no-filter", _EGRESS, damaged(host(f"tc qdisc del dev {PORT} ingress"))),
    refused("bandwidth", "rate-without-burst", {"ingressRate": 20_000_000}),
    refused("bandwidth", "burst-without-rate", {"egressBurst": 20_000_000}),
    refused("bandwidth", "burst-too-large", {"egressRate": 8000, "egressBurst": 8 * 0xFFFFFFFF}),
    refused("bandwidth", "rate-less-than-a-byte", {"ingressRate": 7, "ingressBurst": 8}),
    refused("bandwidth", "rate-negative", {"ingressRate": -8, "ingressBurst": 8}),
    refused("bandwidth", "rate-fraction", {"ingressRate": 8.5, "ingressBurst": 8}),
    refused("bandwidth", "rate-text", {"ingressRate": "20M", "ingressBurst": 8}),
    refused("bandwidth", "rate-beyond-64-bits", {"ingressRate": 1 << 64, "ingressBurst": 8}),
    refused("bandwidth", "no-result", _BOTH | {"prevResult": None}),
    refused("bandwidth", "no-interfaces", _BOTH | {"prevResult": result(interfaces=[])}),
    refused("bandwidth", "port-not-in-result", _BOTH | {"prevResult": result(interfaces=[{"name": "eth7"}])}),
    refused("bandwidth", "no-veth", _BOTH, env={"CNI_IFNAME": "lo"}),
    refused("bandwidth", "no-interface", _BOTH, env={"CNI_IFNAME": "eth7"}),
    of_version("bandwidth", "0.2.0", _BOTH),
    of_version("bandwidth", "0.3.1", _BOTH),
    of_version("bandwidth", "0.4.0", _BOTH),
    *odd_results("bandwidth", _BOTH),
)
