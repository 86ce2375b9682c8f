"""A call that is killed, at any instant: the next DEL, and the next GC, find and remove everything."""

import time

import pytest

from support.killed_calls import REMEDIES, assert_clean, call_and_kill, find_steps, remedy
from support.machine import Config, Machine
from support.waiting import wait_for

# With rules in both tables, in none, and in one.
_KINDS: tuple[Config, ...] = ({}, {"ipMasq": False}, {"ipMasq": False, "isolate": True})
# Each kind takes half a minute, so that only the first is tried without --long.
_PARAMETERS = [_KINDS[0], *(pytest.param(kind, marks=pytest.mark.long) for kind in _KINDS[1:])]


@pytest.mark.parametrize(
    "offset", [0, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 2, 3))]
)
@pytest.mark.parametrize("keys", _PARAMETERS, ids=str)
def test_add_killed_at_every_step(machine: Machine, offset: int, keys: Config) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **keys)
    before = machine.snapshot()
    # The first ADD makes the bridge and the index, which stay: these steps do not come again.
    machine.add(config)
    machine.delete(config)
    tries = []
    for _ in range(3):
        tries.append(find_steps(machine, "ADD", config))
        machine.delete(config)
    # On a busy machine a call takes some steps again and again, until it gets a lock.
    steps = min(tries, key=len)
    assert len(steps) > 20
    # Each test takes every fourth step, and another remedy for each.
    killed = 0
    for number in range(offset, len(steps), 4):
        killed += call_and_kill(machine, "ADD", config, steps[number])
        remedy(machine, config, REMEDIES[(number // 4 + offset) % len(REMEDIES)])
        assert_clean(machine, before)
    assert killed > len(steps) // 6


@pytest.mark.parametrize("keys", _PARAMETERS, ids=str)
def test_del_killed_at_every_step(machine: Machine, keys: Config) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **keys)
    before = machine.snapshot()
    machine.add(config)
    steps = find_steps(machine, "DEL", config)
    killed = 0
    for number, step in enumerate(steps):
        machine.add(config)
        killed += call_and_kill(machine, "DEL", config, step)
        remedy(machine, config, REMEDIES[number % len(REMEDIES)])
        assert_clean(machine, before)
    assert killed > len(steps) // 2


def test_del_killed_beside_a_container_with_the_mac_spoof_check(machine: Machine) -> None:
    """The network's table stays, and must not keep what belonged to the one that left."""
    config = machine.config(ipMasq=False, macspoofchk=True)
    machine.add(config, "stays")
    table = machine.host.run("nft", "list", "ruleset")
    machine.add(config)
    steps = find_steps(machine, "DEL", config)
    for number, step in enumerate(steps[::2]):
        machine.add(config)
        call_and_kill(machine, "DEL", config, step)
        if number % 2:
            machine.collect_garbage(config, ("stays", "eth0"))
        else:
            machine.delete(config)
        assert machine.host.run("nft", "list", "ruleset") == table, step
    machine.check(config, "stays")


@pytest.mark.parametrize("kind", ["DEL", "GC"])
def test_add_killed_while_ipam_works(machine: Machine, kind: str) -> None:
    config = machine.config()
    before = machine.snapshot()
    reached = machine.directory / "reached"
    slow = machine.make_plugin(f"$REAL; touch {reached}; sleep 0.3")
    call = machine.start("ADD", config, CNI_PATH=slow)
    wait_for(reached.exists)
    call.kill()
    assert machine.leases() == {"net/10.10.0.2"}
    remedy(machine, config, kind)
    assert_clean(machine, before)


@pytest.mark.parametrize("kind", ["DEL", "GC"])
@pytest.mark.parametrize("others", [0, 1])
def test_add_killed_while_iptables_works(machine: Machine, kind: str, others: int) -> None:
    """iptables is a process of its own: it goes on, and makes the rules after their owner is dead."""
    config = machine.config()
    for number in range(others):
        machine.add(machine.config(name="other", bridge="br1"), f"o{number}")
    before = machine.snapshot()
    reached = machine.directory / "reached"
    slow = machine.make_program("iptables-restore", f'touch {reached}; sleep 0.4; exec $REAL "$@"')
    call = machine.start("ADD", config, PATH=slow)
    wait_for(reached.exists)
    call.kill()
    remedy(machine, config, kind)
    time.sleep(0.8)
    assert_clean(machine, before)


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_del_killed_while_rules_are_removed(machine: Machine, backend: str) -> None:
    """By a process of its own, which must not take away what is made next."""
    config = machine.config(ipMasqBackend=backend)
    before = machine.snapshot()
    machine.add(config)
    reached = machine.directory / "reached"
    slow = machine.make_program(
        "iptables-restore" if backend == "iptables" else "nft",
        f'text=$(cat); touch {reached}; sleep 0.4; echo "$text" | $REAL "$@"',
    )
    call = machine.start("DEL", config, PATH=slow)
    wait_for(reached.exists)
    call.kill()
    machine.delete(config)
    machine.add(config)
    time.sleep(0.8)
    machine.check(config)
    machine.delete(config)
    assert_clean(machine, before)


def test_a_killed_add_leaves_the_lock_free_and_the_rules_to_the_next(machine: Machine) -> None:
    config = machine.config()
    reached = machine.directory / "reached"
    slow = machine.make_program("iptables-restore", f'touch {reached}; sleep 0.3; exec $REAL "$@"')
    call = machine.start("ADD", config, "c1", PATH=slow)
    wait_for(reached.exists)
    call.kill()
    machine.add(config, "c2")
    machine.check(config, "c2")
    machine.delete(config, "c1")
    machine.check(config, "c2")
    assert len([rule for rule in machine.rules() if " -A " in rule]) == 24
    machine.delete(config, "c2")
    assert machine.rules() == []
    assert machine.remembered() == set()


def test_a_record_that_was_half_written(machine: Machine) -> None:
    """A full disk or a power cut: empty and torn records are no obstacle."""
    config = machine.config()
    machine.add(config)
    before = machine.rules()
    for name in ("firewall", next(n for n in machine.remembered() if "/veth" in n).partition("/")[2]):
        for content in ("", "{", '{"bridge": 1}', "[]", "\0" * 10, '{"subnets": ["x"], "backends": ["?"]}'):
            (machine.records / "net" / name).write_text(content)
            machine.add(config, "c2")
            assert sorted(machine.rules()) == sorted(before)
            (machine.records / "net" / name).write_text(content)
            machine.delete(config, "c2")
    machine.check(config)
    machine.delete(config)
    assert machine.rules() == []
    assert machine.remembered() == set()
