"""Rules of networks, as iptables-save(8) prints them."""

from shibafu.networks.rules import parse_saved


def test_saved_rules_are_found_by_chain_and_comment() -> None:
    saved = """\
*nat
:POSTROUTING ACCEPT [0:0]
[7:420] -A POSTROUTING -m comment --comment "shibafu network blue" -j SHIBAFU-927dcf91fcf287db
[3:180] -A SHIBAFU-927dcf91fcf287db -s 10.1.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE
[1:60] -A POSTROUTING -m comment --comment "shibafu network bluer" -j SHIBAFU-0000000000000000
[2:120] -A POSTROUTING -s 10.1.0.9/32 -m comment --comment "name: \\"blue\\" id: \\"c1\\"" -j CNI-0123
COMMIT
"""
    rules = parse_saved(saved, "ipv4", "blue")
    assert [(rule.table, rule.chain, rule.packets, rule.bytes) for rule in rules] == [
        ("nat", "POSTROUTING", 7, 420),
        ("nat", "SHIBAFU-927dcf91fcf287db", 3, 180),
        ("nat", "POSTROUTING", 2, 120),
    ]
