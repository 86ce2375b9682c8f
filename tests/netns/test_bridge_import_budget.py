"""What ADD, CHECK, DEL, GC and STATUS may import, in real namespaces.

A module that comes in here costs every container its share: it is added to these lists on purpose, or it
is not added.
"""

import os
import sys
from json import dumps, loads

import pytest

from netns.policy_cases import match, pods, policy
from shibafu.policy.compiled import Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
from support.imports import FORBIDDEN, OS_MODULES, check_budget, measure
from support.machine import Config, Machine

C_MODULES = "_blake2 _json _socket _struct errno fcntl"
INTERPRETER = f"{C_MODULES} {' '.join(OS_MODULES)} struct"
# What enters a namespace, and what the reference's names are calculated with.
SETNS, LIBC = ("", "") if hasattr(os, "setns") else ("_ctypes", "libc")
SHA512 = "_sha2" if sys.version_info >= (3, 12) else "_sha512"
PROTOCOL = "shibafu args boot config delegate directories errors lock names request skel version"
LEAN = "files ip json subprocess"
# What reading the configuration needs.
CONFIGURATION = "__main__ config"
ATTACHING = "addressing attachment"
NETLINK = "codec constants errors link link_requests socket"
CONTAINER = "address inet namespace route"
IPTABLES = "backend iptables network_rulesets render_iptables restore ruleset"
# What a call takes that finds nothing changed since somebody looked at the rules.
VERIFIED = "backend generation network_rulesets ruleset verification"
FIREWALL = ("masquerade", "foreign_drops", "rules_record")
STORE = "__main__ bitmap config index index_records lease_table store"

BUDGETS = {
    "ADD": {
        "": f"{INTERPRETER} {SETNS}",
        "cni": f"{PROTOCOL} result",
        "lean": f"{LEAN} sysctl",
        "netlink": f"{NETLINK} {CONTAINER} {LIBC}",
        "netfilter": f"{VERIFIED} forwarding",
        "bridge": f"{CONFIGURATION} {ATTACHING} add answer plan",
        "resources": "carrier fabric interface lease masquerade network pair port rules_record",
        "resource": "base claim home identity netns record records transaction view",
        "ipam": f"{STORE} add allocator liveness ranges",
    },
    "CHECK": {
        "": f"{INTERPRETER} {SETNS}",
        "cni": f"{PROTOCOL} result",
        "lean": f"{LEAN} sysctl",
        "netlink": f"{NETLINK} {CONTAINER} {LIBC}",
        "netfilter": f"{VERIFIED} drops forwarding",
        "bridge": f"{CONFIGURATION} {ATTACHING} check plan",
        "resources": "carrier container_routes fabric fabric_faults interface interface_faults "
        "lease masquerade foreign_drops pair port rules_record",
        "resource": "base home identity netns record records view",
        "ipam": f"{STORE} check ranges",
    },
    "DEL": {
        "": f"{INTERPRETER} select",
        "cni": PROTOCOL,
        "lean": f"{LEAN} sysctl",
        "netlink": f"{NETLINK} namespace link_removal",
        "netfilter": f"{IPTABLES} forwarding generation",
        "bridge": f"{CONFIGURATION} attachment delete removal",
        "resources": "lease network occupancy pair rules_record rules_removal",
        "resource": "base claim home identity record records teardown",
        "ipam": f"{STORE} delete",
    },
    # Looks for what the reference plugin may have made, and for rules whose record was lost.
    "DEL again": {
        "": f"{INTERPRETER} {SETNS} {SHA512}",
        "cni": PROTOCOL,
        "lean": f"{LEAN} sysctl",
        "netlink": f"{NETLINK} namespace link_removal {LIBC}",
        "netfilter": "backend forwarding listing network_rulesets render_iptables restore ruleset",
        "bridge": f"{CONFIGURATION} attachment delete removal",
        "resources": "lease network occupancy pair rules_record",
        "compat": "orphans plan reference reference_rules takeover",
        "resource": "base claim home identity netns record records teardown",
        "ipam": f"{STORE} delete",
    },
    "GC": {
        "": INTERPRETER,
        "cni": PROTOCOL,
        "lean": LEAN,
        "netlink": f"{NETLINK} address inet namespace peer_netns link_removal",
        "netfilter": "backend listing network_rulesets nftables render_iptables render_nftables restore "
        "ruleset",
        "bridge": f"{CONFIGURATION} gc",
        "resources": "network occupancy rules_record stale",
        "compat": "orphans reference reference_nft takeover_gc",
        "resource": "base claim home identity record records teardown",
        "ipam": f"{STORE} gc",
    },
    "STATUS": {
        "": INTERPRETER,
        "cni": PROTOCOL,
        "lean": f"{LEAN} sysctl",
        "netlink": f"{NETLINK} {CONTAINER}",
        "netfilter": "backend drops forwarding generation network_rulesets ruleset",
        "bridge": f"{CONFIGURATION} attachment kinds status",
        "resources": "fabric masquerade foreign_drops network rules_record",
        "resource": "base home identity obstacles record records",
        "ipam": "__main__ liveness allocator bitmap config index index_records ranges rebuild status store",
    },
}
PACKAGES = {
    "lean": "shibafu.lean",
    "cni": "shibafu.cni",
    "netlink": "shibafu.netlink",
    "netfilter": "shibafu.netfilter",
    "resource": "shibafu.resource",
    "bridge": "shibafu.bridge",
    "resources": "shibafu.bridge.resources",
    "compat": "shibafu.bridge.compat",
    "ipam": "shibafu_ipam",
}


# What looks at rules where calls do not know that they are unchanged.
LOOKING = {f"shibafu.netfilter.{name}" for name in ("iptables", "render_iptables", "restore", "rule_state")}


def is_first_process_namespace() -> bool:
    """Return whether the kernel announces transactions in nf_tables by the numbers of processes here."""
    # PROC_PID_INIT_INO of include/linux/proc_ns.h
    return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC


def calc_budget(call: str, *without: str) -> set[str]:
    """Return the full names of the modules that a call may import, all of the packages `without` left out."""
    names = set()
    for package, modules in BUDGETS[call].items():
        if package == "":
            names |= set(modules.split())
        elif package not in without:
            names.add(PACKAGES[package])
            names |= {m if m == "shibafu" else f"{PACKAGES[package]}.{m}" for m in modules.split()}
    return names


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
    if not (machine.suite.directory / "shibafu-bridge").exists():
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
    check_budget(modules, calc_budget("DEL again"))
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
