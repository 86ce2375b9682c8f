"""Policies compiled to rules of nftables."""

import pytest

from shibafu.lean.ip import parse_address
from shibafu.policy.compiler import compile_policies
from shibafu.policy.member import Member
from shibafu.policy.model import INGRESS, Policy, PolicyPort, PolicyRule, PolicySet
from shibafu.policy.selector import Selector

WEB = Member("default", {"app": "web"}, [parse_address("10.0.0.1")])


def compile_ports(*ports: PolicyPort) -> list[str]:
    """Return the rules of a container that all may reach at some ports, without the last, which drops."""
    policy = Policy("default", "web", Selector(), (INGRESS,), (PolicyRule(None, ports),))
    (chain,) = compile_policies(PolicySet((policy,))).calc_member(WEB).chains
    assert chain.rules[-1] == "counter drop"
    return chain.rules[:-1]


@pytest.mark.parametrize(
    ("ports", "rules"),
    [
        ([PolicyPort("TCP", 80)], ["tcp dport 80 return"]),
        ([PolicyPort("TCP", 80), PolicyPort("TCP", 81)], ["tcp dport 80-81 return"]),
        ([PolicyPort("SCTP", 80, 90)], ["sctp dport 80-90 return"]),
        ([PolicyPort("SCTP")], ["meta l4proto sctp return"]),
        (
            [PolicyPort("UDP", 53), PolicyPort("TCP", 53), PolicyPort("TCP", 80)],
            ["tcp dport 53 return", "tcp dport 80 return", "udp dport 53 return"],
        ),
    ],
)
def test_ports(ports: list[PolicyPort], rules: list[str]) -> None:
    assert compile_ports(*ports) == rules


def test_many_ports_are_one_rule() -> None:
    """A packet is not compared with each of them."""
    (rule,) = compile_ports(*(PolicyPort("TCP", 2 * number) for number in range(1, 10)))
    assert rule == "tcp dport { 2, 4, 6, 8, 10, 12, 14, 16, 18 } return"
