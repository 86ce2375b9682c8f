"""How to break rules of the firewall; see breakages.py."""

from netns.breakage import Breakage

_IPTABLES, _NFTABLES = {"backend": "iptables"}, {"backend": "nftables"}
_ISOLATED, _STRICT = {"isolate": True}, {"isolate": "strict"}
_MISSING = "firewall rules of network {network} are missing"
_MIXED = "firewall rules of network {network} contain other rules or are out of order"
_UNCHECKED = "the MAC spoof check of port {port} is missing"
_NO_HOST_RULES = "the rules that keep internal network {network} from the host are missing"
_DROP = "A chain of others that drops"
_FOREIGN = "Rules that the reference plugins made"

PORT_RULES = (
    Breakage(
        "SpoofCheck.port",
        "nft delete element bridge {table} ports {{ {port} }}",
        _UNCHECKED,
        network="nat",
    ),
    Breakage("SpoofCheck.port", "nft flush ruleset", _UNCHECKED, network="nat"),
    Breakage(
        "SpoofCheck.port", "nft insert rule bridge {table} prerouting accept", _UNCHECKED, network="nat"
    ),
    Breakage(
        "SpoofCheck.mac",
        "nft delete element bridge {table} allowed {{ {port} . {mac} }}",
        _UNCHECKED,
        network="nat",
    ),
    Breakage("InternalIsolation.group", "nft flush ruleset", _NO_HOST_RULES, network="internal"),
    Breakage(
        "InternalIsolation.group",
        "nft insert rule bridge {table}-internal input accept",
        _NO_HOST_RULES,
        network="internal",
    ),
)

RULES = (
    Breakage("Rules.backend", "iptables -F; ip6tables -F", _MISSING, when=_IPTABLES, network="nat"),
    Breakage("Rules.backend", "nft delete table inet {table}", _MISSING, when=_NFTABLES, network="nftables"),
    Breakage(
        "Rules.links",
        "iptables -t mangle -F PREROUTING; ip6tables -t mangle -F PREROUTING",
        _MISSING,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.links", "nft flush chain inet {table} prerouting", _MISSING, when=_NFTABLES, network="nftables"
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -I {chain} -i {links[0]} -j ACCEPT",
        _MIXED,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -N DOCKER-USER; {iptables} -A FORWARD -j DOCKER-USER",
        "firewall rules of network {network} come before those of chain DOCKER-USER",
        when=_IPTABLES,
        undo="{iptables} -D FORWARD -j DOCKER-USER; {iptables} -X DOCKER-USER",
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -t nat -F {chain}",
        _MISSING,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.ipMasq",
        "iptables -t nat -F POSTROUTING; ip6tables -t nat -F POSTROUTING",
        _MISSING,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.ipMasq",
        "nft flush chain inet {table} postrouting",
        _MISSING,
        when=_NFTABLES | {"ipMasq": True},
        network="nftables",
    ),
    Breakage(
        "Rules.nonMasqueradeCIDRs",
        "{iptables} -t nat -D {chain} -d {item} -j RETURN",
        _MISSING,
        when=_IPTABLES,
        network="nat",
    ),
    Breakage(
        "Rules.subnets",
        "{iptables} -t nat -I {chain} 2 -j RETURN",
        _MIXED,
        when=_IPTABLES | {"ipMasq": True},
        network="nat",
    ),
    Breakage(
        "Rules.isolate",
        """sed -i 's/"isolated": false/"isolated": true/' /run/shibafu/*/{network}/firewall""",
        "firewall rules still isolate network {network}",
        when={"isolate": False},
        network="nat",
    ),
    Breakage(
        "Rules.isolate", "iptables -F {chain}", _MISSING, when=_IPTABLES | _ISOLATED, network="isolated"
    ),
    Breakage(
        "Rules.isolate",
        "nft flush chain inet {table} forward",
        _MISSING,
        when=_NFTABLES | _ISOLATED,
        network="nftables",
    ),
    Breakage(
        "Rules.isolate",
        "iptables -t mangle -F {chain}-S",
        _MISSING,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage(
        "Rules.isolate",
        "ip6tables -t mangle -D FORWARD 1",
        _MISSING,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage(
        "Rules.isolate",
        "iptables -t mangle -I {chain}-S -j ACCEPT",
        _MIXED,
        when=_IPTABLES | _STRICT,
        network="strict",
    ),
    Breakage("Rules.bridged", "iptables -F {chain}", _MISSING, when=_IPTABLES, network="bridged"),
    *(
        Breakage(
            attribute,
            "nft add table inet admin; nft add chain inet admin forward "
            "'{{ type filter hook forward priority 0; policy drop; }}'",
            "chain forward of table inet admin drops",
            when={"ipMasq": True},
            undo="nft delete table inet admin",
            listed=_DROP,
            network="nat",
        )
        for attribute in ("ForeignDrops.subnets", "ForeignDrops.ipMasq")
    ),
)

# Of a container that the reference attached.
FOREIGN = (
    Breakage(
        "ReferenceSpoofCheck.port",
        "nft list ruleset bridge > /run/kept; nft flush ruleset bridge",
        _UNCHECKED,
        undo="nft -f /run/kept",
        listed=_FOREIGN,
        network="reference",
    ),
    Breakage(
        "ReferenceRules.subnets",
        "{iptables}-save > /run/kept; {iptables} -t nat -F",
        _MISSING,
        undo="{iptables}-restore < /run/kept",
        listed=_FOREIGN,
        network="reference",
    ),
)
