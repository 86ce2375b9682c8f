"""Policies for containers that another plugin has attached: their part is shibafu-firewall's."""

from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest

from netns.policy_machine import DB_FROM_WEB, TABLE, add_stray_rules, apply, labelled
from netns.walled import REFERENCE
from shibafu.networks.policy_control import enforce_labels, enforce_policies
from shibafu.networks.policy_labels import change_labels
from shibafu.networks.policy_networks import open_policies
from shibafu.networks.policy_pods import list_pods
from support.killed_calls import call_and_kill, find_steps
from support.machine import Config, Machine
from support.traffic import can_reach

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs the reference's plugins")


class Foreigners:
    """Containers of a network of the reference's bridge plugin, behind shibafu-firewall."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        ranges = [[{"subnet": subnet}] for subnet in ("10.10.0.0/24", "fd00:10::/64")]
        ipam = {"type": "host-local", "ranges": ranges, "dataDir": str(machine.data_dir)}
        self.bridge: Config = {"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0"}
        self.bridge |= {"isDefaultGateway": True, "ipam": ipam}
        self.firewall: Config = {"cniVersion": "1.0.0", "name": "net", "type": "firewall"}
        self.addresses: dict[str, list[str]] = {}

    def attach(self, name: str) -> None:
        self._choose("bridge")
        result = self.machine.add(self.bridge, name, CNI_PATH=str(REFERENCE))
        self._choose("firewall")
        self.machine.add(self.configure(name, result), name)
        self.addresses[name] = [ip["address"].partition("/")[0] for ip in result["ips"]]

    def configure(self, name: str, result: Config | None = None) -> Config:
        chained = {"prevResult": result or self.machine.result(self.firewall, name)}
        return labelled(self.firewall, app=name) | chained

    def detach(self, name: str) -> None:
        self._choose("firewall")
        self.machine.delete(self.configure(name), name)
        self._choose("bridge")
        self.machine.delete(self.bridge, name, CNI_PATH=str(REFERENCE))

    def _choose(self, plugin: str) -> None:
        directory = REFERENCE if plugin == "bridge" else self.machine.suite.directory
        self.machine.plugin = directory / plugin

    def reaches(self, source: str, destination: str) -> list[bool]:
        server, client = map(self.machine.container, (destination, source))
        return [can_reach(server, address, client) for address in self.addresses[destination]]


@pytest.fixture
def foreigners(machine: Machine) -> Iterator[Foreigners]:
    yield Foreigners(machine)
    apply(machine)


@pytest.mark.parametrize("is_first", [True, False], ids=["policies first", "containers first"])
def test_policies_are_for_all_networks(foreigners: Foreigners, is_first: bool) -> None:
    machine = foreigners.machine
    if is_first:
        apply(machine, DB_FROM_WEB)
    for name in ("db", "web", "other"):
        foreigners.attach(name)
    if not is_first:
        assert foreigners.reaches("other", "db") == [True, True]
        apply(machine, DB_FROM_WEB)
    assert foreigners.reaches("other", "db") == [False, False]
    assert foreigners.reaches("web", "db") == [True, True]
    for name in ("db", "web", "other"):
        machine.check(foreigners.configure(name), name)
    machine.host.run("nft", "flush", "map", *TABLE.split(), "in4")
    assert "polic" in machine.fail(foreigners.configure("db"), "db", command="CHECK")["msg"]


def test_the_command_shows_and_labels_them(foreigners: Foreigners, tmp_path: Path) -> None:
    machine = foreigners.machine
    apply(machine, DB_FROM_WEB)
    for name in ("db", "web"):
        foreigners.attach(name)
    with machine.host.enter():
        shown = {pod.name: (pod.labels, [str(one) for one in pod.addresses]) for pod in list_pods()}
        assert shown == {name: ({"app": name}, foreigners.addresses[name]) for name in ("db", "web")}
        assert change_labels("web", {"app": "other"}, str(tmp_path), enforce_labels) == {"app": "other"}
    assert foreigners.reaches("web", "db") == [False, False]
    machine.check(foreigners.configure("web"), "web")
    foreigners.detach("web")
    assert foreigners.addresses["web"][0] not in machine.host.run("nft", "list", "table", *TABLE.split())


def test_nothing_is_left_of_them(foreigners: Foreigners) -> None:
    machine = foreigners.machine
    apply(machine, DB_FROM_WEB)
    empty = machine.host.run("nft", "list", "table", *TABLE.split())
    for name in ("db", "web"):
        foreigners.attach(name)
    assert machine.host.run("nft", "list", "table", *TABLE.split()) != empty
    foreigners.detach("web")
    machine.plugin = machine.suite.directory / "firewall"
    machine.collect_garbage(foreigners.firewall | {"cniVersion": "1.1.0"})
    assert machine.host.run("nft", "list", "table", *TABLE.split()) == empty


def test_gc_takes_away_what_belongs_to_nobody(foreigners: Foreigners) -> None:
    machine = foreigners.machine
    apply(machine, DB_FROM_WEB)
    foreigners.attach("db")
    before = machine.host.run("nft", "list", "table", *TABLE.split())
    add_stray_rules(machine)
    machine.plugin = machine.suite.directory / "firewall"
    machine.collect_garbage(foreigners.firewall | {"cniVersion": "1.1.0"}, ("db", "eth0"))
    assert machine.host.run("nft", "list", "table", *TABLE.split()) == before


def test_policies_that_the_network_states(foreigners: Foreigners, tmp_path: Path) -> None:
    """Its chain's last plugin lets nobody be attached before they are in force."""
    machine = foreigners.machine
    foreigners.firewall |= {"policies": [DB_FROM_WEB]}
    with pytest.raises(AssertionError, match="configuration are not applied as they are now"):
        foreigners.attach("refused")
    status = foreigners.firewall | {"cniVersion": "1.1.0"}
    error = machine.fail(status, command="STATUS")
    assert (error["code"], "shibafu policy apply" in error["details"]) == (50, True)
    network = {"cniVersion": "1.0.0", "name": "net", "plugins": [foreigners.bridge, foreigners.firewall]}
    (tmp_path / "net.conflist").write_text(dumps(network))
    with machine.host.enter():
        open_policies(str(tmp_path / "policies"), str(tmp_path)).store((), enforce_policies)
    assert machine.call("STATUS", status).status == 0
    for name in ("db", "web", "other"):
        foreigners.attach(name)
    assert foreigners.reaches("other", "db") == [False, False]
    assert foreigners.reaches("web", "db") == [True, True]
    machine.check(foreigners.configure("db"), "db")
    foreigners.firewall |= {"policies": [DB_FROM_WEB, DB_FROM_WEB]}
    assert "not applied" in machine.fail(foreigners.configure("db"), "db", command="CHECK")["msg"]


def test_status_tells_that_nft_is_missing(foreigners: Foreigners) -> None:
    machine = foreigners.machine
    config = foreigners.firewall | {"cniVersion": "1.1.0"}
    machine.plugin = machine.suite.directory / "firewall"
    machine.hide("mount --bind /dev/null /usr/sbin/nft")
    assert machine.call("STATUS", config).status == 0
    apply(machine, DB_FROM_WEB)
    error = machine.fail(config, command="STATUS")
    assert (error["code"], error["msg"]) == (50, "nft is not installed")
    assert error["details"] == "install nftables, which network policies need"


@pytest.mark.parametrize("stride", [20, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("command", ["ADD", "DEL", "GC"])
def test_a_call_is_killed(foreigners: Foreigners, command: str, stride: int) -> None:
    """What is there of a container's part in the policies goes, and comes again."""
    machine = foreigners.machine
    apply(machine, DB_FROM_WEB)
    for name in ("other", "db"):
        foreigners.attach(name)
    wanted = config = foreigners.configure("db")
    if command == "GC":
        valid = [{"containerID": "other", "ifname": "eth0"}]
        config = foreigners.firewall | {"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid}
    if command == "ADD":
        machine.delete(wanted, "db")
    steps = find_steps(machine, command, config, "db")
    machine.delete(wanted, "db")
    without_db = machine.host.run("nft", "list", "table", *TABLE.split())
    killed = 0
    for step in steps[::stride]:
        if command != "ADD":
            machine.add(wanted, "db")
        killed += call_and_kill(machine, command, config, step, "db")
        if command == "GC":
            machine.collect_garbage(config, ("other", "eth0"))
        else:
            machine.delete(wanted, "db")
        assert machine.host.run("nft", "list", "table", *TABLE.split()) == without_db, step
    assert killed > len(steps[::stride]) // 2
    machine.add(wanted, "db")
    machine.check(wanted, "db")
    assert foreigners.reaches("other", "db") == [False, False]
