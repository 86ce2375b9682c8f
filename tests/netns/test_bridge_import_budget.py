"""ADD, CHECK, DEL, GC and STATUS import what plugins/shibafu/engine/imports.py says, in real namespaces."""

import os
from json import dumps, loads

import pytest

from netns.policy_cases import match, pods, policy
from shibafu.engine.imports import AGAIN, LOOKING, VERIFIED, calc_imports
from shibafu.policy.compiled import Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.imports import FORBIDDEN, OS_MODULES, check_budget, measure
from support.machine import Config, Machine

FIREWALL = ("masquerade", "rules_needs", "foreign_drops", "rules_record")


def is_first_process_namespace() -> bool:
    """Return whether the kernel announces transactions in nf_tables by the numbers of processes here."""
    # PROC_PID_INIT_INO of include/linux/proc_ns.h
    return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC


def calc_budget(call: str, *without: str) -> set[str]:
    """Return the full names of the modules that a call may import, all of the packages `without` left out."""
    return calc_imports(call, *without) | OS_MODULES


def call(machine: Machine, command: str, config: Config, plugin: str = "bridge") -> tuple[str, set[str]]:
    """Make a call that succeeds; return its answer and the modules that it imported."""
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": machine.container().path,
        "CNI_PATH": machine.cni_path,
        "PATH": machine.path,
    }
    status, answer, modules = measure(
        machine.directory / "report",
        f"shibafu.{plugin}",
        env,
        config,
        ("/usr/bin/nsenter", f"--net={machine.host.path}"),
        str(machine.suite.directory / f"shibafu-{plugin}"),
    )
    assert status == 0, answer
    return answer, modules


@pytest.fixture
def config(machine: Machine) -> Config:
    """A NAT network that has a container, so that the one under test is neither the first nor the last."""
    if machine.suite.is_built:
        pytest.skip("the built executables show their modules to nobody")
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    machine.add(config, "other")
    return config


def test_nat_network(machine: Machine, config: Config) -> None:
    # Elsewhere the ADD before this one has left no hint; this one changes nothing, and leaves one.
    looking = set() if is_first_process_namespace() else LOOKING
    result, modules = call(machine, "ADD", config)
    check_budget(modules, calc_budget("ADD") | looking)
    _, modules = call(machine, "CHECK", config | {"prevResult": loads(result)})
    check_budget(modules, calc_budget("CHECK"))
    machine.delete(config, "other")
    _, modules = call(machine, "DEL", config)
    check_budget(modules, calc_budget("DEL"))
    _, modules = call(machine, "DEL", config)
    check_budget(modules, calc_budget(AGAIN))
    _, modules = call(machine, "GC", config)
    check_budget(modules, calc_budget("GC"))
    _, modules = call(machine, "STATUS", config)
    check_budget(modules, calc_budget("STATUS"))


def test_an_overlay_s_plugin_adds_little(machine: Machine, config: Config) -> None:
    subnet_file = machine.directory / "subnet.env"
    subnet_file.write_text(
        "FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.0.1/24\n"
        "FLANNEL_IPV6_NETWORK=fd00:10::/48\nFLANNEL_IPV6_SUBNET=fd00:10::1/64\n"
        "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
    )
    stated = {key: value for key, value in config.items() if key in ("cniVersion", "name")} | {
        "subnetFile": str(subnet_file),
        "dataDir": str(machine.directory / "sent"),
        "delegate": {"bridge": "br0", "isDefaultGateway": True},
        "ipam": {"dataDir": str(machine.data_dir)},
    }
    result, modules = call(machine, "ADD", stated, "overlay")
    overlay = {f"shibafu.overlay.{name}" for name in ("__main__", "delegation", "sent_config", "subnet_file")}
    overlay |= {"shibafu.overlay", "shibafu.overlay.verbs"}
    # Its rules are others than those of the container before: they are made.
    assert modules - calc_budget("ADD") - LOOKING == overlay
    _, modules = call(machine, "CHECK", stated | {"prevResult": loads(result)}, "overlay")
    looking = set() if is_first_process_namespace() else LOOKING
    check_budget(modules, calc_budget("CHECK") | overlay | looking)
    _, modules = call(machine, "DEL", stated, "overlay")
    assert overlay <= modules
    assert not {name for name in modules if name.split(".")[0] in FORBIDDEN}


def test_policies_are_read_without_what_only_people_wait_for(machine: Machine, config: Config) -> None:
    """They are compiled beforehand: neither their documents nor YAML are of any concern here."""
    rule = policy([{"from": [pods(match(app="web"))]}], target={}, namespace="default")
    with machine.host.enter():
        enforce(compile_policies(parse_policies(dumps(rule), "policies.json")), HostPolicies(), os.environ)
    result, modules = call(machine, "ADD", config)
    imported = [modules]
    for command in ("CHECK", "DEL"):
        imported.append(call(machine, command, config | {"prevResult": loads(result)})[1])
    for modules in imported:
        assert not {name for name in modules if name.split(".")[0] in FORBIDDEN}
        assert not {name for name in modules if name.startswith("shibafu.documents")}
    assert all("shibafu.policy.membership" in modules for modules in imported)
    with machine.host.enter():
        enforce(Compiled(), HostPolicies(), os.environ)


def test_layer_2_network(machine: Machine, config: Config) -> None:
    """Neither IPAM nor the firewall, and nothing to run programs with."""
    flat = {key: value for key, value in config.items() if key not in ("ipam", "ipMasq", "isDefaultGateway")}
    flat["name"] = "flat"
    neither = {"shibafu.lean.subprocess", *(f"shibafu.bridge.resources.{module}" for module in FIREWALL)}
    rules = {f"shibafu.netfilter.{module}" for module in f"{VERIFIED} drops".split()}
    result, modules = call(machine, "ADD", flat)
    check_budget(modules, calc_budget("ADD", "ipam") - neither - rules)
    _, modules = call(machine, "CHECK", flat | {"prevResult": loads(result)})
    check_budget(modules, calc_budget("CHECK", "ipam") - neither - rules)
    _, modules = call(machine, "DEL", flat)
    unneeded = {"select", "shibafu.lean.ip", "shibafu.lean.subprocess", "shibafu.lean.sysctl"}
    unneeded |= {
        f"shibafu.bridge.resources.{module}"
        for module in ("lease", "occupancy", "rules_record", "rules_removal")
    }
    check_budget(modules, calc_budget("DEL", "ipam", "netfilter") - unneeded)
