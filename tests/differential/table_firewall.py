"""shibafu-firewall's configurations."""

from differential.case import LIFE, Call
from differential.samples import host
from differential.samples_chained import chained, damaged, odd_results, of_version, refused, result

_BACKEND = {"backend": "iptables"}
_DROP = (host("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP"),)

CASES = (
    chained("firewall", "iptables", _BACKEND, LIFE, _DROP),
    chained("firewall", "default", {}),
    chained("firewall", "backend-empty", {"backend": ""}),
    chained("firewall", "backend-unknown", {"backend": "foo"}),
    chained("firewall", "zone-without-firewalld", {"firewalldZone": "home"}),
    chained("firewall", "same-bridge", _BACKEND | {"ingressPolicy": "same-bridge"}, setup=_DROP),
    chained("firewall", "admin-chain", _BACKEND | {"iptablesAdminChainName": "MINE"}, setup=_DROP),
    chained(
        "firewall",
        "administrator-drops",
        _BACKEND,
        setup=(*_DROP, host("iptables -N CNI-ADMIN; iptables -A CNI-ADMIN -j DROP")),
    ),
    chained("firewall", "policies-none", _BACKEND | {"policies": [], "policyDir": ""}),
    chained("firewall", "without-addresses", _BACKEND | {"prevResult": result(ips=[])}),
    chained(
        "firewall",
        "del-without-result",
        _BACKEND,
        (Call("ADD"), Call("DEL", config={"prevResult": None}, prev_result=False)),
    ),
    chained("firewall", "del-without-netns", _BACKEND, (Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    chained("firewall", "del-never-added", _BACKEND, (Call("DEL"),)),
    chained("firewall", "check-flushed", _BACKEND, damaged(host("iptables -F"))),
    chained("firewall", "check-never-added", _BACKEND, (Call("CHECK"),)),
    refused("firewall", "policy-unknown", {"ingressPolicy": "zzz"}),
    refused("firewall", "policy-number", {"ingressPolicy": 5}),
    refused("firewall", "no-result", {"prevResult": None}),
    refused(
        "firewall", "no-interfaces", {"ingressPolicy": "same-bridge", "prevResult": result(interfaces=[])}
    ),
    refused("firewall", "admin-chain-too-long", _BACKEND | {"iptablesAdminChainName": "C" * 40}),
    of_version("firewall", "0.3.1", _BACKEND),
    of_version("firewall", "0.4.0", _BACKEND),
    *odd_results("firewall", _BACKEND),
)
