"""Policies on a machine whose plugins a test calls."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import yaml

from netns.policy_cases import match, pods, policy
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.policy_evaluator import Document
from support.traffic import can_reach

TABLE = "inet shibafu_policy"
SUBNETS = ("10.10.0.0/24", "fd00:10::/64")
DB_FROM_WEB = policy([{"from": [pods(match(app="web"))]}], target=match(app="db"), namespace="default")


def apply(machine: Machine, *policies: Document) -> None:
    """Enforce policies on the machine, in place of all others."""
    with machine.host.enter():
        parsed = parse_policies(yaml.safe_dump_all(policies), "policies.yaml")
        enforce(compile_policies(parsed), HostPolicies(), os.environ)


def add_stray_rules(machine: Machine) -> None:
    """Add chains and elements as of containers that are gone, and have left no record."""
    machine.host.run(
        "nft",
        f"add chain {TABLE} in-stray; add rule {TABLE} in-stray counter drop; add chain {TABLE} eg-stray;"
        f"add element {TABLE} in4 {{ 10.10.0.99 : jump in-stray }};"
        f"add element {TABLE} in6 {{ fd00:10::99 : jump in-stray }};"
        f"add element {TABLE} self4 {{ 10.10.0.99 . 10.10.0.99 }};"
        "add element bridge shibafu_policy members { vethstray }",
    )


def labelled(config: Config, **labels: str) -> Config:
    """Return a network's configuration as a runtime passes it for a container with labels."""
    return config | {"args": {"cni": {"labels": [{"key": k, "value": v} for k, v in labels.items()]}}}


@contextmanager
def knocking(client: Namespace, address: str) -> Iterator[None]:
    """Send datagrams to an address, each millisecond."""
    is_over = Event()
    with client.enter():
        talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def knock() -> None:
        while not is_over.wait(0.001):
            with suppress(OSError):
                talker.sendto(b"knock", (address, 5000))

    thread = Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        talker.close()


class LabelledContainers:
    """Containers `db`, `web` and `other` of one network, labelled so."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.config = machine.config(*SUBNETS)
        self.addresses: dict[str, list[str]] = {}

    def attach(self, *names: str, **env: str) -> None:
        for name in names:
            result = self.machine.add(labelled(self.config, app=name), name, **env)
            self.addresses[name] = [ip["address"].partition("/")[0] for ip in result["ips"]]

    def check(self, name: str) -> None:
        self.machine.check(labelled(self.config, app=name), name)

    def find_fault(self, name: str) -> str:
        error = self.machine.fail(labelled(self.config, app=name), name, command="CHECK")
        return f"{error['msg']} {error['details']}"

    def delete(self, name: str) -> None:
        self.machine.delete(labelled(self.config, app=name), name)

    def reaches(self, source: str, destination: str) -> list[bool]:
        """Return whether a container reaches another one by each of its addresses."""
        server, client = map(self.machine.container, (destination, source))
        return [can_reach(server, address, client) for address in self.addresses[destination]]

    def list_table(self) -> str:
        return self.machine.host.run("nft", "list", "table", TABLE)
