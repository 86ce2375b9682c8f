"""`macspoofchk`: what is there of the check while containers come and go, and when somebody flushes it."""

import pytest

from support.machine import Config, Machine
from support.remains import assert_no_rules
from support.waiting import wait_for


@pytest.fixture(params=[True, False], ids=["masquerade", "plain"])
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    """A network with the check, with rules besides and without."""
    return machine.config(macspoofchk=True, ipMasq=request.param)


def list_checked(machine: Machine) -> list[str]:
    """Return the ports that are checked."""
    listed = machine.host.run("nft", "list", "ruleset").replace("\n", " ")
    ports = listed.partition("set ports {")[2].partition("elements = {")[2].partition("}")[0]
    return sorted(port.strip().strip('"') for port in ports.split(",") if port.strip())


def find_ports(machine: Machine) -> list[str]:
    return sorted(name for name in machine.links() if name.startswith("veth"))


def test_each_container_is_checked_and_the_last_takes_the_table_away(
    machine: Machine, config: Config
) -> None:
    names = ("c1", "c2", "c3")
    for name in names:
        machine.add(config, name)
        assert list_checked(machine) == find_ports(machine)
    for name in names:
        machine.check(config, name)
        machine.delete(config, name)
        assert list_checked(machine) == find_ports(machine)
    assert_no_rules(machine)


def test_a_container_whose_hardware_address_would_be_computed_differently_now(
    machine: Machine, config: Config
) -> None:
    """As after an upgrade, or a change of the host's machine-id: it is checked by the one that it has."""
    identity = machine.directory / "machine-id"
    identity.write_text("0123456789abcdef" * 2)
    machine.hide(f"mount --bind {identity} /etc/machine-id")
    machine.add(config)
    identity.write_text("fedcba9876543210" * 2)
    machine.check(config)
    machine.delete(config)
    assert_no_rules(machine)


def test_an_add_beside_the_last_del(machine: Machine, config: Config) -> None:
    machine.add(config, "c1")
    reached = machine.directory / "reached"
    slow = machine.make_program(
        "nft",
        f'text=$(cat); case "$text" in *"delete table"*) touch {reached}; sleep 0.5;; esac; '
        'echo "$text" | $REAL "$@"',
    )
    machine.container("c2")
    call = machine.start("DEL", config, "c1", PATH=slow)
    wait_for(reached.exists)
    machine.add(config, "c2")
    assert call.finish().status == 0
    machine.check(config, "c2")
    assert list_checked(machine) == find_ports(machine)
    machine.delete(config, "c2")
    assert_no_rules(machine)


def test_many_at_once(machine: Machine, config: Config) -> None:
    names = [f"c{number}" for number in range(8)]
    for name in names:
        machine.container(name)
    for _ in range(2):
        calls = [machine.start("ADD", config, name) for name in names[:4]]
        assert [call.finish().status for call in calls] == [0] * 4
        calls = [machine.start("DEL", config, name) for name in names[:4]]
        calls += [machine.start("ADD", config, name) for name in names[4:]]
        assert [call.finish().status for call in calls] == [0] * 8
        assert list_checked(machine) == find_ports(machine)
        calls = [machine.start("DEL", config, name) for name in names[4:]]
        assert [call.finish().status for call in calls] == [0] * 4
        assert_no_rules(machine)


@pytest.mark.parametrize("flush", ["ruleset", "chain"])
def test_the_next_add_checks_all_again_after_a_flush(machine: Machine, config: Config, flush: str) -> None:
    machine.add(config, "c1")
    machine.add(config, "c2")
    if flush == "ruleset":
        machine.host.run("nft", "flush", "ruleset")
    else:
        table = next(table for table in machine.tables() if " bridge " in table)
        machine.host.run("nft", "flush", "chain", *table.split()[1:], "prerouting")
    assert "the MAC spoof check of port" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.add(config, "c3")
    for name in ("c1", "c2", "c3"):
        machine.check(config, name)
    assert list_checked(machine) == find_ports(machine)
    for name in ("c1", "c2", "c3"):
        machine.delete(config, name)
    assert_no_rules(machine)


def test_a_failed_add_leaves_no_check(machine: Machine, config: Config) -> None:
    bad = config["ipam"] | {"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}
    machine.fail(config | {"ipam": bad})
    assert_no_rules(machine)
    machine.add(config, "c2")
    machine.fail(config | {"ipam": bad})
    machine.check(config, "c2")
    assert list_checked(machine) == find_ports(machine)


def test_the_last_del_beside_a_stale_record(machine: Machine, config: Config) -> None:
    machine.add(config, "c1")
    machine.add(config, "c2")
    machine.container("c2").run("ip", "link", "del", "eth0")
    machine.delete(config, "c1")
    assert machine.tables() == set()
    machine.delete(config, "c2")
    assert_no_rules(machine)


@pytest.mark.parametrize("removal", ["DEL", "GC"])
def test_a_check_that_cannot_be_removed_is_remembered(machine: Machine, config: Config, removal: str) -> None:
    machine.add(config, "c1")
    machine.add(config, "c2")
    failing = machine.make_program("nft", "echo oops >&2; exit 2")
    if removal == "DEL":
        assert "oops" in machine.fail(config, "c1", command="DEL", PATH=failing)["msg"]
    else:
        listed = [{"containerID": "c2", "ifname": "eth0"}]
        valid = config | {"cni.dev/valid-attachments": listed}
        assert "oops" in machine.fail(valid, command="GC", PATH=failing)["msg"]
    assert list_checked(machine) != find_ports(machine)
    machine.collect_garbage(config, ("c2", "eth0"))
    assert list_checked(machine) == find_ports(machine)
    machine.delete(config, "c2")
    assert_no_rules(machine)


def test_without_nft(machine: Machine, config: Config) -> None:
    before = machine.snapshot()
    machine.hide("mount -t tmpfs none /usr/sbin")
    error = machine.fail(config)
    assert error["code"] == 102
    assert error["msg"].endswith("is not installed")
    assert "left" not in error["details"]
    machine.prefix = []
    after = machine.snapshot()
    assert (after["records"], after["leases"]) == (before["records"], before["leases"])
