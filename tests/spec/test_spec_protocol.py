"""The CNI specification 1.1.0, obligations of the protocol: what goes in and what comes out.

The numbers count the obligations that concern a plugin, in this file and in its neighbour.
"""

from typing import Any

import pytest

from support.machine import Answer, Config, Machine

pytestmark = pytest.mark.root

VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


def test_01_the_exit_status_is_0_for_success_and_another_for_failure(machine: Machine) -> None:
    assert machine.call("ADD", machine.config()).status == 0
    assert machine.call("ADD", machine.config(name="")).status != 0


def test_02_results_and_errors_are_json_on_stdout(machine: Machine) -> None:
    success = machine.call("ADD", machine.config())
    failure = machine.call("ADD", machine.config())
    assert isinstance(success.json, dict)
    assert isinstance(failure.json, dict)
    assert (success.stderr, failure.stderr) == ("", "")


def test_03_an_error_object_has_version_code_and_message(machine: Machine) -> None:
    error = machine.call("ADD", machine.config(mtu="many")).json
    assert error["cniVersion"] == "1.1.0"
    assert isinstance(error["code"], int)
    assert isinstance(error["msg"], str)
    assert isinstance(error.get("details", ""), str)


CODES: dict[str, tuple[int, Config, dict[str, str]]] = {
    "an unsupported version": (1, {"cniVersion": "1.2.0"}, {}),
    "a field that the version cannot express": (2, {"cniVersion": "0.2.0", "ipam": None}, {}),
    "an interface name that cannot be": (4, {}, {"CNI_IFNAME": "a/b"}),
    "a namespace that is none": (4, {}, {"CNI_NETNS": "/dev/null"}),
    "a wrong type": (7, {"mtu": "many"}, {}),
    "no name": (7, {"name": None}, {}),
}


@pytest.mark.parametrize("case", CODES)
def test_04_errors_have_the_specified_codes(machine: Machine, case: str) -> None:
    code, keys, env = CODES[case]
    error = machine.call("ADD", machine.config(**keys), **env).json
    assert error["code"] == code, error


def test_04_the_code_for_what_cannot_be_decoded_is_6(machine: Machine) -> None:
    error = machine.call("ADD", machine.config() | {"name": 5}).json
    assert error["code"] == 6


def test_04_the_code_for_storage_that_fails_is_5(machine: Machine) -> None:
    config = machine.config()
    config["ipam"]["dataDir"] = "/proc/nowhere"
    assert machine.fail(config)["code"] == 5


def test_04_the_code_for_try_again_later_is_11(machine: Machine) -> None:
    config = machine.config("10.10.0.0/30")
    machine.add(config, "c1")
    assert machine.fail(config, "c2")["code"] == 11


@pytest.mark.parametrize("version", VERSIONS)
def test_05_a_result_has_the_version_of_the_configuration(machine: Machine, version: str) -> None:
    assert machine.add(machine.config(cniVersion=version))["cniVersion"] == version


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("ADD", "CNI_CONTAINERID"),
        ("ADD", "CNI_NETNS"),
        ("ADD", "CNI_IFNAME"),
        ("CHECK", "CNI_CONTAINERID"),
        ("CHECK", "CNI_NETNS"),
        ("CHECK", "CNI_IFNAME"),
        ("DEL", "CNI_CONTAINERID"),
        ("DEL", "CNI_IFNAME"),
        ("GC", "CNI_PATH"),
    ],
)
def test_06_a_variable_that_is_required_is_named_when_missing(
    machine: Machine, command: str, missing: str
) -> None:
    config = machine.config()
    config["prevResult"] = {"cniVersion": "1.1.0"}
    unset: dict[str, Any] = {missing: None}
    error = machine.fail(config, command=command, **unset)
    assert error["code"] == 4
    assert missing in error["msg"]


def test_06_del_and_status_need_no_more(machine: Machine) -> None:
    assert machine.call("DEL", machine.config(), CNI_NETNS=None).status == 0
    assert machine.call("STATUS", machine.layer2(), CNI_PATH=None).status == 0


@pytest.mark.parametrize("name", ["", "-web", ".web", "a b", "a/b", "a\u00e9"])
def test_07_names_of_containers_and_networks_follow_the_grammar(machine: Machine, name: str) -> None:
    assert machine.fail(machine.config(), CNI_CONTAINERID=name)["code"] == 4
    assert machine.fail(machine.config(name=name))["code"] == 7


@pytest.mark.parametrize("version", ["0.3.1", "1.1.0"])
def test_21_version_echoes_the_version_and_lists_those_that_are_supported(
    machine: Machine, version: str
) -> None:
    answer: Answer = machine.call("VERSION", {"cniVersion": version})
    assert answer.status == 0
    assert answer.json == {"cniVersion": version, "supportedVersions": VERSIONS}


def test_23_unknown_keys_and_args_are_ignored_and_those_of_runtimes_not_needed(machine: Machine) -> None:
    config = machine.config(
        args={"cni": {"labels": [{"key": "a", "value": "b"}]}, "other": 1},
        **{"something": {"else": []}, "cni.dev/unknown": True},
    )
    machine.add(config)
    machine.check(config)
    machine.delete(config)


def test_24_the_result_of_an_ipam_plugin_has_neither_interfaces_nor_their_numbers(machine: Machine) -> None:
    machine.suite.bridge, bridge = machine.suite.directory / "shibafu-ipam", machine.suite.bridge
    try:
        result = machine.add(machine.config("10.10.0.0/24", "fd00:10::/64"))
    finally:
        machine.suite.bridge = bridge
    assert "interfaces" not in result
    assert [set(ip) for ip in result["ips"]] == [{"address", "gateway"}] * 2
