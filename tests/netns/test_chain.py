"""The whole chain: bridge, portmap, bandwidth, firewall and tuning, ours and the reference's mixed."""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import pytest

from support.chained import HOST_PORT, MTU, RATE, REFERENCE, ROLES, SERVER_PORT, Chain
from support.killed_calls import assert_same
from support.machine import Config, Machine
from support.published import reaches
from support.throughput import measure
from support.traffic import OUTSIDE, UPLINK, Outside, can_reach

# Whose roles are the reference's: of no plugin, and of either half, so that all meet the other's.
FEW = [frozenset(mix) for mix in ((), ("portmap", "firewall", "tuning"))]
ALL = [frozenset(mix) for count in range(len(ROLES) + 1) for mix in itertools.combinations(ROLES, count)]
ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - in a container
backends = pytest.mark.parametrize("backend", ["iptables", "nftables"])
needs_reference = pytest.mark.skipif(
    not (REFERENCE / "portmap").exists(), reason="the reference plugins are not installed"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try few mixes as a rule, and each there is in the long mode."""
    if "theirs" in metafunc.fixturenames:
        mixes = ALL if metafunc.config.getoption("--long") else FEW
        names = ["+".join(role for role in ROLES if role in mix) or "none" for mix in mixes]
        metafunc.parametrize("theirs", mixes, ids=names)


def is_published(
    machine: Machine, outside: Outside, version: int, protocol: str = "tcp", patience: float = 3
) -> bool:
    """Say whether a client outside reaches the container by the host's port, seen by its own address."""
    source = reaches(
        machine.container(),
        (ANY[version], SERVER_PORT),
        outside.namespace,
        (UPLINK[version], HOST_PORT),
        protocol,
        patience,
    )
    assert source in ("", OUTSIDE[version])
    return bool(source)


def assert_works(machine: Machine, outside: Outside, result: Config) -> None:
    """See by packets that each plugin of the chain has done what it is there for."""
    container, other = machine.container(), machine.container("other")
    for version, ip in zip((4, 6), result["ips"], strict=True):
        for protocol in ("tcp", "udp"):
            assert is_published(machine, outside, version, protocol)
        assert not can_reach(container, ip["address"].partition("/")[0], other)
    link = machine.links(container)["eth0"]
    assert link["mtu"] == MTU
    assert "ALLMULTI" in link["flags"]
    assert 0.9 <= measure(container, outside.namespace, OUTSIDE[4], RATE) <= 1.1


@needs_reference
def test_any_mix(machine: Machine, outside: Outside, theirs: frozenset[str]) -> None:
    chain = Chain(machine, theirs)
    neighbour = Chain(machine, theirs, roles=("bridge", "firewall"), network="other")
    neighbour.add("other")
    # The reference keeps chains for good; the bridge stays.
    chain.add()
    chain.delete()
    before = chain.snapshot()
    result = chain.add()
    assert_works(machine, outside, result)
    # The reference's portmap looks for the rules of each family in the tables of both.
    chain.check(besides=theirs & {"portmap"})
    chain.delete()
    assert_same(before, chain.snapshot())
    assert not any(is_published(machine, outside, version, patience=0.2) for version in (4, 6))


@needs_reference
def test_ours_take_over_from_any_mix(machine: Machine, outside: Outside, theirs: frozenset[str]) -> None:
    """Of a container that others have attached, ours see what is there, and remove it."""
    first, ours = Chain(machine, theirs), Chain(machine)
    first.add()
    ours.take_over(first)
    ours.delete()
    before = ours.snapshot()
    first.add()
    ours.take_over(first)
    ours.check()
    ours.delete()
    assert_same(before, ours.snapshot())
    assert not any(is_published(machine, outside, version, patience=0.2) for version in (4, 6))


@backends
@pytest.mark.parametrize("netns", ["there", "unknown", "gone"])
@pytest.mark.parametrize("has_own_files", [True, False], ids=["records", "no records"])
def test_a_detachment_needs_to_know_nothing(
    machine: Machine, netns: str, has_own_files: bool, backend: str
) -> None:
    """Neither the result nor what the container asked for, nor what the plugins themselves have written."""
    chain = Chain(machine, backend=backend)
    machine.container("c2")
    before = chain.snapshot()
    chain.add()
    environment = {} if netns == "there" else {"CNI_NETNS": ""}
    if netns == "gone":
        machine.container().delete()
        environment = {"CNI_NETNS": machine.container().path}
    if not has_own_files:
        for path in chain.own_files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    chain.delete(is_cached=False, **environment)
    after = chain.snapshot()
    if netns == "gone":
        forget_container(before)
    assert_same(before, after)


def forget_container(snapshot: dict[str, object]) -> None:
    """Leave a container out whose namespace is gone."""
    containers = snapshot["containers"]
    assert isinstance(containers, dict)
    snapshot["containers"] = {name: links for name, links in containers.items() if "c1" not in name}


@backends
@pytest.mark.parametrize("has_own_files", [True, False], ids=["records", "no records"])
def test_garbage_is_collected(machine: Machine, has_own_files: bool, backend: str) -> None:
    chain = Chain(machine, version="1.1.0", backend=backend)
    before = chain.snapshot()
    chain.add()
    if not has_own_files:
        for path in chain.own_files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    chain.collect_garbage()
    assert_same(before, chain.snapshot())


@backends
def test_many_at_once(machine: Machine, outside: Outside, backend: str) -> None:
    """Rules that containers share are made once, and removed by who comes last."""
    # A machine says which plugin it calls next: each thread has its own view of the one host.
    chains = {
        f"c{number}": Chain(copy(machine), backend=backend, host_port=HOST_PORT + number)
        for number in range(6)
    }
    for name in chains:
        machine.container(name)
    before = next(iter(chains.values())).snapshot()
    with ThreadPoolExecutor(len(chains)) as pool:
        list(pool.map(lambda name: chains[name].add(name), chains))
        rules = [rule for rule in machine.rules() if " -A " in rule]  # chains of two tables have one name
        assert [rule for rule in set(rules) if rules.count(rule) > 1] == []
        for name, chain in chains.items():
            at, to = (ANY[4], SERVER_PORT), (UPLINK[4], chain.host_port)
            chain.check(name)
            assert reaches(machine.container(name), at, outside.namespace, to) == OUTSIDE[4]
        list(pool.map(lambda name: chains[name].delete(name), chains))
    assert_same(before, next(iter(chains.values())).snapshot())
