"""`shibafu watch run` and network policies, which a firewall's reload takes away like all rules."""

import os

import yaml

from netns.policy_cases import match, pods, policy
from netns.watched import Watched, make_command
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.machine import Config, Machine
from support.policy_evaluator import Document
from support.suite import Suite
from support.traffic import can_reach
from support.waiting import wait_for

DB_FROM_WEB = policy([{"from": [pods(match(app="web"))]}], target=match(app="db"), namespace="default")


def apply(machine: Machine, *policies: Document) -> None:
    """Enforce policies on the machine, in place of all others."""
    with machine.host.enter():
        parsed = parse_policies(yaml.safe_dump_all(policies), "policies.yaml")
        enforce(compile_policies(parsed), HostPolicies(), os.environ)


def labelled(config: Config, name: str) -> Config:
    """Return a network's configuration as a runtime passes it for a container with a label."""
    return config | {"args": {"cni": {"labels": [{"key": "app", "value": name}]}}}


def test_policies_are_in_force_again(suite: Suite, machine: Machine) -> None:
    config = machine.config()
    apply(machine, DB_FROM_WEB)
    addresses = {}
    for name in ("web", "db", "other"):
        result = machine.add(labelled(config, name), name)
        addresses[name] = result["ips"][0]["address"].partition("/")[0]

    def reaches(source: str) -> bool:
        return can_reach(machine.container("db"), addresses["db"], machine.container(source))

    assert [reaches("web"), reaches("other")] == [True, False]
    try:
        with Watched(make_command(suite, machine, config)) as watched:
            machine.host.run("nft", "flush", "ruleset")
            watched.wait_for("rules of network policies are missing")
            wait_for(lambda: [reaches("web"), reaches("other")] == [True, False])
            machine.host.run("nft", "delete", "table", "inet", "shibafu_policy")
            wait_for(lambda: len([line for line in watched.lines if "policies are missing" in line]) > 1)
            wait_for(lambda: [reaches("web"), reaches("other")] == [True, False])
    finally:
        apply(machine)
