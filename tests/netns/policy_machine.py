"""Policies on a machine whose plugins a test calls."""

import os

import yaml

from netns.policy_cases import match, pods, policy
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.machine import Config, Machine
from support.policy_evaluator import Document

TABLE = "inet shibafu_policy"
DB_FROM_WEB = policy([{"from": [pods(match(app="web"))]}], target=match(app="db"), namespace="default")


def apply(machine: Machine, *policies: Document) -> None:
    """Enforce policies on the machine, in place of all others."""
    with machine.host.enter():
        parsed = parse_policies(yaml.safe_dump_all(policies), "policies.yaml")
        enforce(compile_policies(parsed), HostPolicies(), os.environ)


def labelled(config: Config, **labels: str) -> Config:
    """Return a network's configuration as a runtime passes it for a container with labels."""
    return config | {"args": {"cni": {"labels": [{"key": k, "value": v} for k, v in labels.items()]}}}
