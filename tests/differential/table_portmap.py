"""shibafu-portmap's configurations; the container's port 80 is the one that the probe listens on."""

from differential.case import LIFE, Call, Case
from differential.samples import host
from differential.samples_chained import ONCE, chained, damaged, odd_results, of_version, result

_TCP = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
_IPV4 = result(ips=[{"address": "10.1.0.2/24", "interface": 2}])
_OLD_IPV4 = result("0.4.0", ips=[{"version": "4", "address": "10.1.0.2/24", "interface": 2}])


def _ports(*mappings: object, **config: object) -> dict[str, object]:
    return {"backend": "iptables", "runtimeConfig": {"portMappings": list(mappings)}} | config


def _published(name: str, config: dict[str, object]) -> Case:
    """Return a case whose CHECK is like that of others."""
    return chained("portmap", name, config, (Call("ADD"), Call("DEL")))


def _refused(name: str, *mappings: object, **config: object) -> Case:
    return chained("portmap", name, _ports(*mappings, **config), ONCE)


CASES = (
    chained("portmap", "tcp", _ports(_TCP), LIFE),
    chained("portmap", "ipv4", _ports(_TCP, prevResult=_IPV4)),
    chained("portmap", "many", _ports(*(_TCP | {"hostPort": port} for port in range(8080, 8100)))),
    _published("nftables", _ports(_TCP, backend="nftables")),
    _published("udp", _ports(_TCP | {"protocol": "udp"})),
    _published("tcp-and-udp", _ports(_TCP, _TCP | {"protocol": "udp"})),
    _published("upper-case", _ports({"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp"})),
    _published("protocol-upper-case", _ports(_TCP | {"protocol": "TCP"})),
    _published("address", _ports(_TCP | {"hostIP": "203.0.113.1"})),
    _published("other-address", _ports(_TCP | {"hostIP": "203.0.113.9"})),
    _published("address-ipv6", _ports(_TCP | {"hostIP": "2001:db8:113::1"})),
    _published("address-empty", _ports(_TCP | {"hostIP": ""})),
    _published("address-any", _ports(_TCP | {"hostIP": "0.0.0.0"})),  # noqa: S104
    _published("address-any-ipv6", _ports(_TCP | {"hostIP": "::"})),
    _published("twice", _ports(_TCP, _TCP)),
    _published("without-snat", _ports(_TCP, snat=False)),
    _published("conditions", _ports(_TCP, conditionsV4=["!", "-s", "203.0.113.0/24"])),
    _published("conditions-ipv6", _ports(_TCP, conditionsV6=["-s", "2001:db8:113::/64"])),
    _published("mark-bit", _ports(_TCP, markMasqBit=5)),
    _published("no-capability", {"runtimeConfig": {}}),
    chained(
        "portmap",
        "masquerade-all",
        _ports(_TCP, masqAll=True),
        (Call("ADD"), Call("DEL")),
        documented={
            "after-ADD outside reaches tcp port 8080 of 203.0.113.1": "c1 sees 10.1.0.1",
            "after-ADD outside reaches tcp port 8080 of 2001:db8:113::1": "c1 sees fd00:1::1",
            "after-ADD host reaches tcp port 8080 of 203.0.113.1": "c1 sees 10.1.0.1",
            "after-ADD host reaches tcp port 8080 of 2001:db8:113::1": "c1 sees fd00:1::1",
        },
    ),
    chained(
        "portmap",
        "range",
        _ports(_TCP | {"range": 2}),
        reference=_ports(_TCP, _TCP | {"hostPort": 8081, "containerPort": 81}),
        despite="port-ranges",
    ),
    chained(
        "portmap",
        "mark-chain",
        _ports(_TCP, externalSetMarkChain="MARK-IT"),
        setup=(host("for t in iptables ip6tables; do $t -t nat -N MARK-IT; done"),),
    ),
    chained("portmap", "none", _ports()),
    chained("portmap", "null", {"runtimeConfig": {"portMappings": None}}),
    chained(
        "portmap",
        "del-without-ports",
        _ports(_TCP),
        (Call("ADD"), Call("DEL", config={"runtimeConfig": None})),
    ),
    chained("portmap", "del-without-netns", _ports(_TCP), (Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    chained(
        "portmap",
        "del-without-result",
        _ports(_TCP),
        (Call("ADD"), Call("DEL", config={"prevResult": None}, prev_result=False)),
    ),
    chained("portmap", "del-never-added", _ports(_TCP), (Call("DEL"),)),
    chained("portmap", "check-flushed", _ports(_TCP), damaged(host("iptables -t nat -F"))),
    chained("portmap", "check-never-added", _ports(_TCP), (Call("CHECK"),)),
    chained(
        "portmap",
        "of-another-container",
        _ports(_TCP),
        (Call("ADD"), Call("ADD", env={"CNI_CONTAINERID": "c2"})),
    ),
    _refused("host-port-0", _TCP | {"hostPort": 0}),
    _refused("host-port-too-large", _TCP | {"hostPort": 70000}),
    _refused("host-port-negative", _TCP | {"hostPort": -1}),
    _refused("host-port-text", _TCP | {"hostPort": "8080"}),
    _refused("container-port-0", _TCP | {"containerPort": 0}),
    _refused("no-protocol", {"hostPort": 8080, "containerPort": 80}),
    _refused("protocol-unknown", _TCP | {"protocol": "foo"}),
    _refused("mark-bit-32", _TCP, markMasqBit=32),
    _refused("mark-bit-and-chain", _TCP, markMasqBit=5, externalSetMarkChain="X"),
    _refused("mark-chain-unknown", _TCP, externalSetMarkChain="NOPE"),
    _refused("conditions-unknown", _TCP, conditionsV4=["--nope"]),
    _refused("no-result", _TCP, prevResult=None),
    _published("without-addresses", _ports(_TCP, prevResult=result(ips=[]))),
    of_version("portmap", "0.3.1", _ports(_TCP)),
    of_version("portmap", "0.4.0", _ports(_TCP, prevResult=_OLD_IPV4)),
    *odd_results("portmap", _ports(_TCP)),
)
