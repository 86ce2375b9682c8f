"""Two ADDs of one interface at once, each with its own namespace: one attaches, the other touches nothing."""

import time

import pytest

from support.machine import Config, Machine


@pytest.fixture(params=["nat", "plain"])
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    return machine.config(ipMasq=request.param == "nat")


def attach_twice(machine: Machine, config: Config, pause: float, **env: str) -> None:
    """Make both calls, see that one of them holds in every respect, and detach it."""
    namespaces = ("c1", "c2")
    calls = []
    for name in namespaces:
        calls.append(machine.start("ADD", config, CNI_NETNS=machine.container(name).path, **env))
        time.sleep(pause)
    answers = [call.finish() for call in calls]
    assert sorted(answer.status for answer in answers) == [0, 1], answers
    winner = [answer.status for answer in answers].index(0)
    result, error = answers[winner].json, answers[1 - winner].json
    assert error["code"] == 7
    assert "attached from another namespace" in error["details"]
    path = machine.container(namespaces[winner]).path
    assert result["interfaces"][2]["sandbox"] == path
    machine.check(config | {"prevResult": result}, CNI_NETNS=path)
    assert machine.leases() == {f"net/{result['ips'][0]['address'].partition('/')[0]}"}
    assert f"net/{result['interfaces'][1]['name']}" in machine.remembered()
    machine.container(namespaces[winner]).run("ping", "-c1", "-W2", "10.10.0.1")
    assert set(machine.links(machine.container(namespaces[1 - winner]))) == {"lo"}
    machine.delete(config, CNI_NETNS=path)
    assert set(machine.links()) <= {"lo", "br0"}
    assert machine.leases() == set()
    assert machine.rules() == []
    assert machine.remembered() == set()


def test_at_any_instant(machine: Machine, config: Config) -> None:
    for number in range(12):
        attach_twice(machine, config, 0.004 * number)


def test_while_the_first_asks_for_its_address(machine: Machine, config: Config) -> None:
    """The second gets as far as it can."""
    slow = machine.make_plugin("$REAL; [ $CNI_COMMAND = ADD ] && sleep 0.5; exit 0")
    attach_twice(machine, config, 0.1, CNI_PATH=slow)


@pytest.mark.parametrize("where", ["on the host", "in the container"])
def test_a_link_that_somebody_makes_meanwhile_stays(machine: Machine, config: Config, where: str) -> None:
    name = machine.add(config)["interfaces"][1]["name"]
    machine.delete(config)
    host, container = machine.host, machine.container()
    namespace, link = (host, name) if where == "on the host" else (container, "eth0")
    adding = f"/usr/sbin/ip -n {namespace.name} link add {link} type bridge"
    plugin = machine.make_plugin(f"$REAL; [ $CNI_COMMAND = ADD ] && {adding}; exit 0")
    error = machine.fail(config, CNI_PATH=plugin)
    assert "already exists" in error["msg"]
    assert link in machine.links(namespace)
    assert machine.leases() == set()
    assert machine.remembered() == set()
