"""`shibafu network check` and `repair`, where rules of policies were taken away."""

import os

import pytest
import yaml

from netns.blue_network import BlueNetwork
from netns.policy_cases import block, policy
from shibafu.policy.compiled import Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.traffic import can_reach

# `network.check` has `web` be sent datagrams, which nobody else on the network sends.
WEB_ONLY = policy([{"from": [block("10.66.0.2/32")]}], target={}, namespace="default")


@pytest.mark.parametrize(
    ("damage", "faults"),
    [
        ("nft delete table inet shibafu_policy", ["rules of network policies are missing"] * 2),
        ("nft flush chain inet shibafu_policy forward", ["rules of network policies are missing"] * 2),
        (
            "nft delete element inet shibafu_policy in4 { 10.66.0.3 }",
            ["rules of network policies are missing"],
        ),
        (
            "ip link set br-blue type bridge nf_call_iptables 0",
            ["bridge br-blue does not show netfilter what it forwards"] * 2,
        ),
    ],
)
def test_repair(network: BlueNetwork, damage: str, faults: list[str]) -> None:
    network.create()
    with network.host.enter():
        parsed = parse_policies(yaml.safe_dump(WEB_ONLY), "policies.yaml")
        enforce(compile_policies(parsed), HostPolicies(), os.environ)
    try:
        assert not can_reach(network.web, "10.66.0.2", network.db)
        network.host.run(*damage.split())
        assert sorted(network.repair()) == faults
        assert not can_reach(network.web, "10.66.0.2", network.db)
    finally:
        with network.host.enter():
            enforce(Compiled(), HostPolicies(), os.environ)
