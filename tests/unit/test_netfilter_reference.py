"""What the reference plugins make of rules, read from what iptables and nft list."""

from hashlib import sha512

import pytest

from shibafu.bridge.compat import reference_nft
from shibafu.bridge.compat.reference import calc_reference_chain, list_reference_containers

SPOOF = """table bridge nat { # handle 1
	chain PREROUTING { # handle 1
		type filter hook prerouting priority -300; policy accept;
		iifname "veth1" jump "cni-br-iface-c1-eth0" comment "macspoofchk-c1-eth0" # handle 4
		iifname "veth2" jump "cni-br-iface-c1-eth01" comment "macspoofchk-c1-eth01" # handle 9
	}

	chain cni-br-iface-c1-eth0 { # handle 2
		jump cni-br-iface-c1-eth0-mac # handle 5
	}

	chain cni-br-iface-c1-eth0-mac { # handle 3
		ether saddr 02:00:00:00:00:01 return comment "macspoofchk-c1-eth0" # handle 6
		drop comment "macspoofchk-c1-eth0" # handle 7
	}

	chain cni-br-iface-c1-eth01 { # handle 8
	}
}
"""


def test_chains_against_spoofing_go_after_what_leads_to_them() -> None:
    assert reference_nft.calc_spoof_removal(SPOOF, [("c1", "eth0")]).splitlines() == [
        "delete rule bridge nat PREROUTING handle 4",
        "delete chain bridge nat handle 2",
        "delete chain bridge nat handle 3",
    ]
    assert reference_nft.calc_spoof_removal(SPOOF, [("c2", "eth0")]) == ""
    assert reference_nft.calc_spoof_removal("", [("c1", "eth0")]) == ""


def digits(text: str) -> str:
    return sha512(text.encode()).hexdigest()[:16]


def test_masquerading_rules_of_some_instances() -> None:
    rules = [
        f"ip saddr 10.1.0.{number} ip daddr != 10.1.0.0/24 masquerade comment "
        f'"{digits(network)}-{digits("eth0:" + container)}, net: {network}, if: eth0, id: {container}" '
        f"# handle {number}"
        for number, network, container in ((5, "net", "c1"), (6, "net", "c2"), (7, "other", "c1"))
    ]
    head = ["table inet cni_plugins_masquerade { # handle 1", "\tchain masq_checks { # handle 2"]
    listing = "\n".join([*head, *(f"\t\t{rule}" for rule in rules), "\t}", "}"])
    one = reference_nft.calc_instance("c1", "eth0")
    assert one == digits("eth0:c1")
    removal = reference_nft.calc_masquerade_removal(listing, "net", lambda instance: instance == one)
    assert removal == "delete rule inet cni_plugins_masquerade masq_checks handle 5\n"
    removal = reference_nft.calc_masquerade_removal(listing, "net", lambda instance: instance != one)
    assert removal == "delete rule inet cni_plugins_masquerade masq_checks handle 6\n"


@pytest.mark.parametrize("network", ["net", "net.2"])
def test_containers_by_their_masquerading_chains(network: str) -> None:
    def jump(source: str, network: str, container: str, chain: str = "") -> str:
        comment = f'name: \\"{network}\\" id: \\"{container}\\"'
        target = chain or calc_reference_chain(network, container)
        return f'-A POSTROUTING -s {source} -m comment --comment "{comment}" -j {target}'

    listed = {
        4: [
            "-P POSTROUTING ACCEPT",
            jump("10.1.0.2/32", network, "c1"),
            jump("10.1.0.3/32", network, "c1"),
            jump("10.1.0.4/32", "else", "c1"),
            jump("10.1.0.5/32", network, "c3", "CNI-somebody-else-s"),
        ],
        6: [jump("fd00::2/128", network, "c2")],
    }
    assert list_reference_containers(listed, network) == {
        "c1": {"10.1.0.2", "10.1.0.3"},
        "c2": {"fd00::2"},
    }
