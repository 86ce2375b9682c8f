"""Containers with the same address, on networks with the same subnet: what policies for either deny."""

from collections.abc import Iterator

import pytest

from netns.policy_cases import match, policy
from netns.policy_machine import TABLE, apply, labelled
from support.machine import Config, Machine
from support.traffic import can_reach

_ADDRESSES = {4: "10.10.0.2", 6: "fd00:10::2"}
_OPEN = policy([{}], target=match(app="open"), namespace="default", name="open")
_SHUT = policy([], target=match(app="shut"), namespace="default", name="shut")


class Twins:
    """Networks with the same subnets, on each of which a client follows the container that it calls."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def config(self, network: str, label: str) -> Config:
        config = self.machine.config("10.10.0.0/24", "fd00:10::/64", name=network, bridge=f"br-{network}")
        return labelled(config | {"isDefaultGateway": False, "ipMasq": False}, app=label)

    def attach(self, network: str, label: str) -> None:
        for name, app in ((f"{network}-server", label), (f"{network}-client", "client")):
            result = self.machine.add(self.config(network, app), name)
            assert name.endswith("client") or result["ips"][0]["address"] == "10.10.0.2/24"

    def reaches(self, network: str) -> list[bool]:
        server, client = (self.machine.container(f"{network}-{one}") for one in ("server", "client"))
        return [can_reach(server, address, client) for address in _ADDRESSES.values()]

    def delete(self, network: str, label: str) -> None:
        self.machine.delete(self.config(network, label), f"{network}-server")


@pytest.fixture
def twins(machine: Machine) -> Iterator[Twins]:
    apply(machine, _OPEN, _SHUT)
    yield Twins(machine)
    apply(machine)


@pytest.mark.parametrize("labels", [("open", "shut"), pytest.param(("shut", "shut"), marks=pytest.mark.long)])
def test_no_policy_is_lost(twins: Twins, labels: tuple[str, str]) -> None:
    for network, label in zip("ab", labels, strict=True):
        twins.attach(network, label)
    for network, label in zip("ab", labels, strict=True):
        assert twins.reaches(network) == [False, False]
        twins.machine.check(twins.config(network, label), f"{network}-server")
    twins.delete("a", labels[0])
    assert twins.reaches("b") == [labels[1] == "open"] * 2
    twins.machine.check(twins.config("b", labels[1]), "b-server")
    twins.delete("b", labels[1])
    assert "jump" not in twins.machine.host.run("nft", "list", "table", TABLE)


def test_check_sees_a_policy_that_is_missing(twins: Twins) -> None:
    twins.attach("a", "open")
    twins.attach("b", "shut")
    listed = twins.machine.host.run("nft", "list", "table", TABLE)
    joint = next(line.split()[1] for line in listed.splitlines() if "chain all-" in line)
    twins.machine.host.run("nft", "flush", "chain", *TABLE.split(), joint)
    assert twins.reaches("b") == [True, True]
    error = twins.machine.fail(twins.config("b", "shut"), "b-server", command="CHECK")
    assert error["msg"] == "rules of network policies are missing"
    twins.attach("c", "shut")
    assert twins.reaches("b") == [False, False]
