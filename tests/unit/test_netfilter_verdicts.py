"""What others' rules do with a packet, as far as their words say."""

import pytest

from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.verdicts import Packet, is_dropped
from shibafu.netfilter.verdicts_iptables import parse_iptables
from shibafu.netfilter.verdicts_nftables import parse_nft

OTHERS = frozenset({"eth0", "eth1"})


def sent(version: int = 4) -> Packet:
    subnets = [parse_cidr("10.1.0.0/24"), parse_cidr("fd00:1::/64")]
    return Packet(version, "br0", "br0", None, OTHERS, "new", subnets)


def answered(version: int = 4) -> Packet:
    return Packet(version, "br0", None, "br0", OTHERS, "established", [parse_cidr("10.1.0.0/24")])


def drops_nft(rules: str, packet: Packet, policy: str = "drop") -> bool:
    """Return whether a chain of nft drops a packet."""
    head = "table inet t {\n\tset s {\n\t\ttype ifname\n\t\telements = { br0,\n\t\t\t     br1 }\n\t}\n\n"
    tail = "\t}\n\n\tchain user {\n\t\taccept\n\t}\n\tchain back {\n\t\tcounter return\n\t}\n}\n"
    lines = "".join(f"\t\t{rule}\n" for rule in rules.split(";"))
    chain = f"\tchain f {{\n\t\ttype filter hook forward priority filter; policy {policy};\n{lines}{tail}"
    return is_dropped(parse_nft(head + chain)["inet", "t"], "f", policy, packet)


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "jump back",
        'iifname "docker0" accept',
        'oifname { "docker0", "virbr0" } accept',
        "ct state established,related accept",
        "ct state vmap { invalid : drop, established : accept }",
        "ip saddr 192.168.0.0/16 accept",
        "ip saddr { 192.168.0.0/16, 172.16.0.0/12 } jump user",
        "ip6 saddr fd00::/8 accept",
        "meta nfproto ipv6 accept",
        "meta l4proto { icmp, ipv6-icmp } accept",
        'iifname != "br0" accept',
        'counter packets 5 bytes 60 log prefix "accept { " comment "accept"',
        "meta mark set 0x1",
        "reject with icmpx admin-prohibited;accept",
        "xt target REJECT",
    ],
)
def test_what_nft_certainly_drops(rules: str) -> None:
    assert drops_nft(rules, sent())


@pytest.mark.parametrize(
    "rules",
    [
        "accept",
        "jump user",
        "goto nowhere",
        'iifname "br0" drop',
        'iifname "br*" accept',
        'iifname {\n"a",\n"br0" } accept',
        "iifname @s accept",
        'oifname "eth0" accept',
        'oifname != "docker0" accept',
        "ct state new accept",
        "ct state != established accept",
        "ct state vmap { new : goto user, established : accept }",
        "ip saddr 10.0.0.0/8 accept",
        "ip saddr 10.0.0.1-10.2.0.0 accept",
        "ip saddr != 192.168.0.0/16 accept",
        "tcp dport { 80, 443 } accept",
        "fib daddr . iif type local accept",
        'iifname . oifname { "x" . "y" } accept',
        'iifname . oifname vmap { "br0" . "eth0" : accept }',
        "ct original ip saddr 192.168.0.0/16 accept",
        "queue to 1",
        "xt target NFQUEUE",
        "xt match physdev accept",
    ],
)
def test_what_nft_may_let_through(rules: str) -> None:
    assert not drops_nft(rules, sent())


def test_families_directions_and_policies_are_told_apart() -> None:
    assert not drops_nft("ip6 saddr fd00::/8 accept", sent(6))
    assert drops_nft('iifname "br0" accept', answered())
    assert not drops_nft("ct state established accept", answered())
    assert not drops_nft("ct state invalid drop", sent(), "accept")
    assert drops_nft("ct state invalid accept;counter drop", sent(), "accept")


def drops_iptables(rules: str, packet: Packet) -> bool:
    """Return whether FORWARD of iptables drops a packet, with the policy DROP."""
    lines = [
        "-P FORWARD DROP",
        "-N USER",
        "-N BACK",
        *rules.split(";"),
        "-A USER -j ACCEPT",
        "-A BACK -j RETURN",
    ]
    policies, chains = parse_iptables("\n".join(lines))
    return is_dropped(chains, "FORWARD", policies["FORWARD"], packet)


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "-A FORWARD -j BACK",
        '-A FORWARD -i docker0 ! -o docker0 -m comment --comment "a \\"b\\" -j DROP" -j ACCEPT',
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j USER",
        "-A FORWARD -p icmp -m icmp --icmp-type 8 -j ACCEPT",
        "-A FORWARD -s 192.168.0.0/16 -j USER",
        "-A FORWARD ! -i br0 -j ACCEPT",
        "-A FORWARD -j LOG --log-prefix ACCEPT",
        "-A FORWARD -j REJECT --reject-with icmp-port-unreachable;-A FORWARD -j ACCEPT",
    ],
)
def test_what_iptables_certainly_drops(rules: str) -> None:
    assert drops_iptables(rules, sent())


@pytest.mark.parametrize(
    "rules",
    [
        "-A FORWARD -j ACCEPT",
        "-A FORWARD -g USER",
        "-A FORWARD -i br+ -j ACCEPT",
        "-A FORWARD -i br0 -j DROP",
        "-A FORWARD ! -i docker0 -j ACCEPT",
        "-A FORWARD -m set --match-set a dst,src -j ACCEPT",
        "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT",
        "-A FORWARD -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN SYN -j ACCEPT",
        "-A FORWARD -s 10.0.0.0/255.0.0.255 -j ACCEPT",
        "-A FORWARD -m state ! --state INVALID -j ACCEPT",
        "-A FORWARD -j NFQUEUE --queue-num 0",
    ],
)
def test_what_iptables_may_let_through(rules: str) -> None:
    assert not drops_iptables(rules, sent())
