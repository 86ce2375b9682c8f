"""What is left on a host when the last container of its networks is gone."""

from support.machine import Machine


def assert_no_rules(machine: Machine) -> None:
    """See that the firewall has nothing, and that nothing is remembered."""
    assert machine.rules() == []
    assert machine.tables() == set()
    assert machine.remembered() == set()


def assert_clean(machine: Machine) -> None:
    """See that there is nothing but the bridge br0, which stays after any DEL."""
    assert set(machine.links()) == {"lo", "br0"}
    assert machine.leases() == set()
    assert_no_rules(machine)
