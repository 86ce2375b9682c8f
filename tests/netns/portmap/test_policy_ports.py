"""Network policies and published ports: a policy is about the container and its own port."""

from collections.abc import Iterator
from typing import Any

import pytest

from netns.policy_cases import block, match, pods, policy
from netns.policy_machine import apply, labelled
from netns.portmap.places import GATEWAY, INSIDE, families, protocols
from support.machine import Config, Machine
from support.policy_evaluator import Document
from support.published import Publisher, publish, reaches
from support.traffic import OUTSIDE, UPLINK, Outside

NOBODY = policy([], target={}, namespace="default")


@pytest.fixture(autouse=True)
def without_policies(machine: Machine) -> Iterator[None]:
    yield
    apply(machine)


def admit(peer: Document, port: int) -> Document:
    """Return a policy that admits a peer to a port of `db`, of either protocol."""
    ports = [{"protocol": protocol, "port": port} for protocol in ("TCP", "UDP")]
    return policy([{"from": [peer], "ports": ports}], target=match(app="db"), namespace="default")


@pytest.fixture
def published(publisher: Publisher, config: Config) -> Publisher:
    """`db`, whose port 80 is published as 8080, and `web`."""
    machine = publisher.machine
    result: Any = machine.add(labelled(config, app="db"))
    machine.add(labelled(config, app="web"), "web")
    publisher.call("ADD", publish(8080, 80), publish(8080, 80, "udp"), previous=result)
    return publisher


@families
@protocols
def test_from_outside(published: Publisher, outside: Outside, version: int, protocol: str) -> None:
    machine, client = published.machine, outside.namespace

    def arrives() -> bool:
        at, to = (INSIDE[version], 80), (UPLINK[version], 8080)
        return reaches(machine.container(), at, client, to, protocol, patience=0.5) == OUTSIDE[version]

    assert arrives()
    apply(machine, NOBODY)
    assert not arrives()
    peer = block(f"{OUTSIDE[version]}/{32 if version == 4 else 128}")
    apply(machine, admit(peer, 8080))
    assert not arrives()
    apply(machine, admit(peer, 80))
    assert arrives()


@families
@protocols
def test_from_the_host_and_from_itself(published: Publisher, version: int, protocol: str) -> None:
    """Neither is for policies to deny; a neighbour is."""
    machine = published.machine
    apply(machine, NOBODY)

    def arrives(client: str) -> bool:
        namespace = machine.container(client) if client else machine.host
        at, to = (INSIDE[version], 80), (GATEWAY[version], 8080)
        return bool(reaches(machine.container(), at, namespace, to, protocol, patience=0.5))

    assert [arrives(client) for client in ("", "c1", "web")] == [True, True, False]
    apply(machine, admit(pods(match(app="web")), 80))
    assert [arrives(client) for client in ("", "c1", "web")] == [True, True, True]
