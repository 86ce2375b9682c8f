"""The CNI specification 1.1.0, obligations of the verbs: what a plugin does with an attachment.

The numbers count the obligations that concern a plugin, in this file and in its neighbour.
"""

import re
from pathlib import Path

import pytest

from support.machine import Config, Machine

pytestmark = pytest.mark.root


@pytest.fixture
def config(machine: Machine) -> Config:
    """A network of both families with masquerading."""
    return machine.config("10.10.0.0/24", "fd00:10::/64")


def make_failing_plugin(machine: Machine, verb: str) -> str:
    """Return a CNI_PATH where IPAM fails in one verb with a code of its own, and notes all verbs."""
    error = '{"cniVersion": "1.1.0", "code": 123, "msg": "not today"}'
    return machine.make_plugin(
        f'echo "$CNI_COMMAND" >>{machine.directory}/verbs; '
        f"if [ $CNI_COMMAND = {verb} ]; then echo '{error}'; exit 1; fi; exec $REAL"
    )


def called_verbs(machine: Machine) -> list[str]:
    """Return the verbs that the plugin of `make_failing_plugin` was called with."""
    return (machine.directory / "verbs").read_text().split()


def test_08_add_of_an_interface_that_is_there_fails(machine: Machine, config: Config) -> None:
    machine.add(config)
    machine.fail(config)
    machine.check(config)


def test_09_add_fails_when_the_interface_cannot_have_the_name(machine: Machine, config: Config) -> None:
    machine.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in machine.fail(config)["msg"]
    machine.fail(config, ifname="an-interface-of-20-c")


def test_10_add_does_not_choke_on_a_previous_result(machine: Machine, config: Config) -> None:
    previous = {"cniVersion": "1.1.0", "interfaces": [{"name": "lo", "sandbox": "/run/netns/x"}]}
    result = machine.add(config | {"prevResult": previous})
    assert result["ips"]


def test_11_the_sandbox_of_an_interface_is_cni_netns(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    sandboxes = {i["name"]: i.get("sandbox") for i in result["interfaces"]}
    assert sandboxes.pop("eth0") == machine.container().path
    assert set(sandboxes.values()) == {None}


def test_12_del_succeeds_whatever_is_gone_already(machine: Machine, config: Config) -> None:
    machine.delete(config, "never")
    machine.add(config)
    machine.container().run("ip", "link", "del", "eth0")
    machine.delete(config)
    machine.delete(config)
    machine.delete(config, CNI_NETNS="")
    machine.delete(config, CNI_NETNS="/run/netns/gone")


def test_13_del_cleans_up_and_calls_ipam_though_the_namespace_is_gone(
    machine: Machine, config: Config
) -> None:
    before = machine.snapshot()
    machine.add(config)
    assert machine.leases()
    machine.delete(config, CNI_NETNS="")
    assert machine.leases() == set()
    after = machine.snapshot()
    assert after["rules"] == before["rules"]
    assert after["records"] == before["records"]
    assert after["containers"] == before["containers"]


DAMAGES = {
    "interface": "ip link del eth0",
    "address": "ip addr del 10.10.0.2/24 dev eth0",
    "route": "ip route del default",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_14_check_says_nothing_or_what_is_missing(machine: Machine, config: Config, damage: str) -> None:
    machine.add(config)
    machine.check(config)
    machine.container().run(*DAMAGES[damage].split())
    assert machine.call("CHECK", config).status == 1


def test_14_check_notices_missing_rules_and_leases(machine: Machine, config: Config) -> None:
    machine.add(config)
    machine.iptables("-t", "nat", "-F")
    assert "firewall" in machine.fail(config, command="CHECK")["msg"]
    machine.add(config, "c2")
    machine.check(config)
    (machine.data_dir / "net" / "10.10.0.2").unlink()
    (machine.data_dir / "net" / "fd00:10::2").unlink()
    machine.fail(config, command="CHECK")


def test_14_check_needs_the_previous_result(machine: Machine, config: Config) -> None:
    machine.add(config)
    answer = machine.call("CHECK", config | {"prevResult": None})
    assert "prevResult" in answer.json["msg"]


def test_14_check_tolerates_what_a_later_plugin_changed(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    container = machine.container()
    container.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    container.run("ip", "route", "add", "192.0.2.0/24", "via", "10.10.0.1")
    result["interfaces"][2]["mac"] = "02:00:00:00:00:99"
    machine.check(config | {"prevResult": result})


def test_15_check_succeeds_right_after_add(machine: Machine, config: Config) -> None:
    for name in ("c1", "c2", "c3"):
        machine.add(config, name)
        machine.check(config, name)


@pytest.mark.parametrize("verb", ["ADD", "CHECK", "DEL", "STATUS", "GC"])
def test_16_verbs_are_delegated_and_their_errors_come_back(
    machine: Machine, config: Config, verb: str
) -> None:
    if verb != "ADD":
        machine.add(config)
    path = make_failing_plugin(machine, verb)
    error = machine.fail(config, command=verb, CNI_PATH=path)
    assert (error["code"], error["msg"]) == (123, "not today")
    assert called_verbs(machine)[0] == verb


def test_17_when_the_delegate_fails_in_add_it_is_called_with_del(machine: Machine, config: Config) -> None:
    before = machine.snapshot()
    machine.fail(config, CNI_PATH=make_failing_plugin(machine, "ADD"))
    assert called_verbs(machine) == ["ADD", "DEL"]
    assert machine.snapshot() == before


def test_18_a_delegate_is_found_in_cni_path_and_gets_all_that_the_plugin_got(
    machine: Machine, config: Config
) -> None:
    script = f"echo to stderr >&2; env >{machine.directory}/env; tee {machine.directory}/stdin | $REAL"
    machine.cni_path = f"/nowhere:{machine.make_plugin(script)}"
    answer = machine.call("ADD", config, CNI_ARGS="IgnoreUnknown=1;A=b")
    assert answer.status == 0
    assert answer.stderr == "to stderr\n"
    env = (machine.directory / "env").read_text().splitlines()
    expected = {"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_ARGS=IgnoreUnknown=1;A=b"}
    assert expected < set(env)
    assert '"bridge": "br0"' in (machine.directory / "stdin").read_text()
    error = machine.fail(config, "c2", CNI_PATH="/nowhere")
    assert 'failed to find plugin "host-local"' in error["msg"]


def test_19_status_tells_whether_add_would_work(machine: Machine) -> None:
    config = machine.config("10.10.0.0/30")
    assert machine.call("STATUS", config).status == 0
    machine.add(config)
    answer = machine.call("STATUS", config)
    assert (answer.status, answer.json["code"]) == (1, 50)
    machine.delete(config)
    assert machine.call("STATUS", config).status == 0


def test_20_gc_frees_what_is_not_listed_and_prints_nothing(machine: Machine, config: Config) -> None:
    for name in ("c1", "c2", "c3"):
        machine.add(config, name)
    assert machine.call("GC", config).stdout == b""  # no list: nothing is said to be invalid
    assert len(machine.leases()) == 6
    machine.collect_garbage(config, ("c2", "eth0"))
    assert len(machine.leases()) == 2
    machine.check(config, "c2")
    machine.collect_garbage(config)
    assert machine.leases() == set()
    assert machine.rules() == []


def test_20_gc_goes_on_past_errors_and_needs_1_1_0(machine: Machine, config: Config) -> None:
    machine.add(config)
    listed: Config = config | {"cni.dev/valid-attachments": []}
    answer = machine.call("GC", listed, CNI_PATH=make_failing_plugin(machine, "GC"))
    assert answer.json["msg"] == "not today"
    assert machine.rules() == []
    assert machine.fail(listed | {"cniVersion": "1.0.0"}, command="GC")["code"] == 1


def test_22_calls_for_several_containers_may_run_at_once(machine: Machine, config: Config) -> None:
    names = [f"c{i}" for i in range(12)]
    for name in names:
        machine.container(name)
    calls = [machine.start("ADD", config, name) for name in names]
    answers = [call.finish() for call in calls]
    assert {answer.status for answer in answers} == {0}, answers
    assert len({answer.json["ips"][0]["address"] for answer in answers}) == len(names)


def test_25_numbers_of_interfaces_lead_into_the_list(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    for ip in result["ips"]:
        assert result["interfaces"][ip["interface"]]["name"] == "eth0"


def test_26_a_container_may_have_a_second_interface(machine: Machine, config: Config) -> None:
    first = machine.add(config, ifname="eth0")
    # The default route belongs to the first.
    second = machine.add(config, ifname="eth1")
    assert first["ips"][0]["address"] != second["ips"][0]["address"]
    machine.check(config, ifname="eth0")
    machine.delete(config, ifname="eth1")
    machine.check(config, ifname="eth0")


def test_27_the_result_has_all_that_later_plugins_of_a_chain_need(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    assert [i["name"] for i in result["interfaces"]][::2] == ["br0", "eth0"]
    assert {"interfaces", "ips", "routes"} <= set(result)


def test_28_well_known_keys_are_honoured(machine: Machine, config: Config) -> None:
    result = machine.add(config | {"dns": {"nameservers": ["10.10.0.53"]}})
    assert result["dns"] == {"nameservers": ["10.10.0.53"]}
    assert len(result["ips"]) == 2  # ipam
    assert any("MASQUERADE" in rule for rule in machine.rules())  # ipMasq


def test_every_obligation_has_a_test() -> None:
    here = Path(__file__).parent
    text = "".join(file.read_text() for file in here.glob("test_*.py"))
    assert {int(number) for number in re.findall(r"def test_(\d\d)_", text)} == set(range(1, 29))
