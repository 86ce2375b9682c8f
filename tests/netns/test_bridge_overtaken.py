"""DEL while the ADD of the same interface is at work: either all is there in the end, or nothing."""

import time

import pytest

from support.machine import Answer, Config, Machine
from support.waiting import wait_for

KINDS = ["its namespace", "no namespace"]


@pytest.fixture(params=["nat", "plain", pytest.param("checked", marks=pytest.mark.long)])
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    """Networks with rules, without, and with the MAC spoof check."""
    return machine.config(ipMasq=request.param == "nat", macspoofchk=request.param == "checked")


def assert_consistent(machine: Machine, config: Config, added: Answer) -> None:
    """See that the container is attached as ADD says, or not at all."""
    if set(machine.links(machine.container())) != {"lo"}:
        assert added.status == 0, added
        machine.check(config | {"prevResult": added.json})
        assert len(machine.leases()) == 1
        machine.delete(config)
    assert set(machine.links()) <= {"lo", "br0"}
    assert machine.leases() == set()
    assert machine.rules() == []
    assert machine.tables() == set()
    assert machine.remembered() == set()


def call_delete(machine: Machine, config: Config, kind: str, **env: str) -> Answer:
    netns = {"CNI_NETNS": ""} if kind == "no namespace" else {}
    return machine.call("DEL", config, **netns, **env)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instant", ["before the address", "after the address"])
def test_while_ipam_works(machine: Machine, config: Config, kind: str, instant: str) -> None:
    reached, go_on = machine.directory / "reached", machine.directory / "go-on"
    pause = f"touch {reached}; while [ ! -e {go_on} ]; do sleep 0.01; done"
    script = f"$REAL; {pause}"
    if instant.startswith("before"):
        script = f'in=$(cat); {pause}; echo "$in" | $REAL'
    slow = machine.make_plugin(f"[ $CNI_COMMAND = ADD ] || exec $REAL; {script}")
    call = machine.start("ADD", config, CNI_PATH=slow)
    wait_for(reached.exists)
    assert call_delete(machine, config, kind).status == 0
    go_on.touch()
    added = call.finish()
    assert (added.status, "was detached while it was being attached" in added.json["msg"]) == (1, True)
    assert_consistent(machine, config, added)


@pytest.mark.parametrize("kind", KINDS)
def test_a_del_that_has_looked_for_the_link_and_not_yet_removed_the_record(
    machine: Machine, config: Config, kind: str
) -> None:
    """ADD makes the link between, and succeeds: DEL has to look once more."""
    machine.container()
    add_reached, add_go_on = machine.directory / "add-reached", machine.directory / "add-go-on"
    slow_add = machine.make_plugin(
        f"$REAL; [ $CNI_COMMAND = ADD ] || exit 0; touch {add_reached}; "
        f"while [ ! -e {add_go_on} ]; do sleep 0.01; done"
    )
    del_reached, del_go_on = machine.directory / "del-reached", machine.directory / "del-go-on"
    slow_delete = machine.make_plugin(
        f"$REAL; touch {del_reached}; while [ ! -e {del_go_on} ]; do sleep 0.01; done"
    )
    adding = machine.start("ADD", config, CNI_PATH=slow_add)
    wait_for(add_reached.exists)
    netns = {"CNI_NETNS": ""} if kind == "no namespace" else {}
    deleting = machine.start("DEL", config, CNI_PATH=slow_delete, **netns)
    wait_for(del_reached.exists)
    add_go_on.touch()
    added = adding.finish()
    del_go_on.touch()
    assert deleting.finish().status == 0
    assert set(machine.links(machine.container())) == {"lo"}
    assert_consistent(machine, config, added)


@pytest.mark.parametrize("kind", KINDS)
def test_at_any_instant(machine: Machine, config: Config, kind: str) -> None:
    machine.container()
    for number in range(12):
        call = machine.start("ADD", config)
        time.sleep(0.012 * number)
        assert call_delete(machine, config, kind).status == 0
        assert_consistent(machine, config, call.finish())
