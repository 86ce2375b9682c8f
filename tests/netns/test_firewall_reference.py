"""shibafu-firewall beside the reference's: what both do alike, and containers that the latter let through."""

from copy import deepcopy

import pytest

from netns.walled import (
    REFERENCE,
    address,
    assert_open_again,
    attach,
    close_host,
    enter,
    ifname,
    leave,
    read_chain,
)
from support.machine import Answer, Config, Machine
from support.traffic import can_reach

pytestmark = pytest.mark.skipif(
    not (REFERENCE / "firewall").exists(), reason="the reference plugins are not installed"
)


def call_reference(machine: Machine, command: str, config: Config, container: str = "c1") -> Answer:
    """Call the reference's plugin."""
    own, machine.plugin = machine.plugin, REFERENCE / "firewall"
    answer = machine.call(command, config, container, ifname(config["name"]))
    machine.plugin = own
    return answer


def enter_by_reference(machine: Machine, network: str = "a", container: str = "c1", **keys: object) -> Config:
    """Attach a container to a bridge, and have the reference's plugin let it through."""
    config = attach(machine, network, container) | keys
    answer = call_reference(machine, "ADD", config, container)
    assert answer.status == 0, answer
    return config


REFUSED: dict[str, Config] = {
    "policy": {"ingressPolicy": "zzz"},
    "no result": {"prevResult": None},
    "no interfaces": {"ingressPolicy": "same-bridge", "prevResult": {"cniVersion": "1.0.0"}},
    "no name": {
        "ingressPolicy": "same-bridge",
        "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": ""}]},
    },
    "wrong type": {"ingressPolicy": 5},
}
# The reference's CHECK does not look at the policy.
CHECKED = ("no result", "wrong type")


@pytest.mark.parametrize(
    ("case", "command"), [*((case, "ADD") for case in REFUSED), *((case, "CHECK") for case in CHECKED)]
)
def test_refuses_alike(machine: Machine, case: str, command: str) -> None:
    config = attach(machine) | REFUSED[case]
    theirs = call_reference(machine, command, config)
    ours = machine.call(command, config, ifname=ifname("a"))
    assert theirs.status == ours.status == 1
    assert ours.json["msg"] == theirs.json["msg"]


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_answers_alike(machine: Machine, version: str) -> None:
    config = attach(machine)
    config = config | {"cniVersion": version, "prevResult": config["prevResult"] | {"cniVersion": version}}
    if version == "0.4.0":
        for ip in config["prevResult"]["ips"]:
            ip["version"] = "6" if ":" in ip["address"] else "4"
    theirs = call_reference(machine, "ADD", deepcopy(config)).json
    assert theirs.pop("dns") == {}
    ours = machine.add(config, ifname=ifname("a"))
    assert {key: value for key, value in ours.items() if key != "dns"} == theirs


@pytest.mark.parametrize("policy", ["open", "same-bridge"])
@pytest.mark.parametrize("knows_address", [True, False])
def test_takes_over(machine: Machine, policy: str, knows_address: bool) -> None:
    """CHECK, DEL and GC know what the reference has made."""
    config = enter_by_reference(machine, ingressPolicy=policy)
    machine.check(config, ifname=ifname("a"))
    rules = machine.rules()
    if knows_address:
        leave(machine, config)
    else:
        bare = {key: config[key] for key in config if key != "prevResult"}
        leave(machine, bare)
        assert machine.rules() == [rule for rule in rules if "STAGE" not in rule]
        machine.collect_garbage(bare | {"cniVersion": "1.1.0"})
    assert_open_again(machine)


@pytest.mark.parametrize(
    "breakage",
    ["-D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD", "-D CNI-FORWARD {rule}"],
)
def test_check_of_the_reference_s(machine: Machine, breakage: str) -> None:
    config = enter_by_reference(machine)
    rule = read_chain(machine, "CNI-FORWARD")[-1]
    machine.iptables(*breakage.format(rule=rule).split(" "))
    broken = machine.rules()
    machine.fail(config, ifname=ifname("a"), command="CHECK")
    assert machine.rules() == broken


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_side_by_side(machine: Machine, first: str) -> None:
    """On one network and on another: each removes its own, and what nobody needs any more."""
    enters = [("c1", "a", True), ("c2", "a", False), ("c3", "b", True)]
    configs = {}
    for container, network, is_theirs in enters if first == "theirs" else reversed(enters):
        make = enter_by_reference if is_theirs else enter
        configs[container] = make(machine, network, container, ingressPolicy="same-bridge")
    close_host(machine)
    inside = {container: machine.container(container) for container in configs}
    for container, config in configs.items():
        machine.check(config, container, ifname(config["name"]))
    assert not can_reach(inside["c3"], address(configs["c3"]), inside["c2"])
    assert not can_reach(inside["c2"], address(configs["c2"]), inside["c3"])
    for container in ("c1", "c3", "c2"):
        leave(machine, configs.pop(container), container)
        for other, config in configs.items():
            machine.check(config, other, ifname(config["name"]))
    assert_open_again(machine)


def test_the_reference_s_del_of_its_own(machine: Machine) -> None:
    """Between ours, it finds what it looks for."""
    ours, theirs = enter(machine, container="c1"), enter_by_reference(machine, container="c2")
    for command in ("CHECK", "DEL"):
        answer = call_reference(machine, command, theirs, "c2")
        assert answer.status == 0, answer
    machine.check(ours, ifname=ifname("a"))
    leave(machine, ours)
    assert_open_again(machine)
