"""Policies without br_netfilter: what each set of them lets through, of all that nine containers try."""

import os
from collections.abc import Iterator
from json import loads

import pytest
import yaml

from netns.policy_cases import CASES, Step
from netns.policy_lab import PolicyLab, make_member, make_namespaces
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import render_setup, render_teardown
from shibafu.policy.compiler import compile_policies
from shibafu.policy.member import Member
from shibafu.policy.policy_documents import parse_policies
from shibafu.policy.policy_table import PolicyTable
from shibafu.policy.rerouting import calc_rerouting
from support.policy_evaluator import Workload


class ReroutingLab(PolicyLab):
    """Nine containers on bridges that do not show netfilter what they forward."""

    def __init__(self) -> None:
        super().__init__()
        off = ("nf_call_iptables", "0", "nf_call_ip6tables", "0")
        for bridge in ("br1", "br2"):
            self.host.run("ip", "link", "set", bridge, "type", "bridge", *off)
        self._links = {link["ifname"]: link for link in loads(self.host.run("ip", "-j", "link", "show"))}

    def reroute(self, step: Step) -> None:
        """Have the kernel enforce policies, and reroute what they are to see."""
        documents = [*make_namespaces(step.namespaces), *step.policies]
        compiled = compile_policies(parse_policies(yaml.safe_dump_all(documents), "policies.yaml"))
        members = [self._make_member(pod) for pod in step.make_cluster().pods]
        rerouting = calc_rerouting(compiled, members)
        with self.host.enter():
            table = PolicyTable(compiled, members).render_whole()
            Nft(os.environ).run(table + render_teardown(rerouting) + render_setup(rerouting))

    def _make_member(self, pod: Workload) -> Member:
        member = make_member(pod)
        port = self._links[f"v{pod.namespace}{pod.name}"]
        member.port, member.router = port["ifname"], self._links[port["master"]]["address"]
        member.mac = self._containers[f"{pod.namespace}/{pod.name}"].read_link("eth0", "address")
        return member


@pytest.fixture(scope="module")
def lab() -> Iterator[ReroutingLab]:
    made = ReroutingLab()
    with made:
        yield made


@pytest.mark.parametrize(
    "name",
    [
        name if number == 0 else pytest.param(name, marks=pytest.mark.long)
        for number, name in enumerate(CASES)
    ],
)
def test_the_host_lets_through_what_policies_allow(lab: ReroutingLab, name: str) -> None:
    """In all pairs of nine containers, of which six are on one bridge; in both families, by TCP and UDP."""
    for step in CASES[name]:
        lab.reroute(step)
        lab.assert_conforms(step)
