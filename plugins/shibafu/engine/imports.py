"""What calls import.

Imports are the largest cost of a call that starts cold. The build puts a call's modules together in the
bundle, and tests hold calls to these lists, both ways: a module is added on purpose, or it is not added.
"""

import os
import sys

from shibafu.engine.programs import REPLACED, SERVED

# What `import os` means. What is listed, even if it is not in the bundle, is not looked for in its index.
OS = "_collections_abc _stat genericpath os posixpath stat"
INTERPRETER = f"_blake2 _json _socket _struct errno fcntl {OS} struct"
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
STORE = "__main__ bitmap config index index_records lease_table store"

# Looks for what the reference plugin may have made, and for rules whose record was lost.
AGAIN = "DEL again"
# What each call of any plugin imports; VERSION no more.
VERSION = (
    "_json shibafu shibafu.cni shibafu.cni.config shibafu.cni.errors shibafu.cni.skel shibafu.cni.version "
    "shibafu.lean shibafu.lean.json"
)
BUDGETS = {
    "ADD": {
        "": f"{INTERPRETER} {SETNS}",
        "cni": f"{PROTOCOL} result",
        "lean": f"{LEAN} machine_id sysctl",
        "netlink": f"{NETLINK} {CONTAINER} {LIBC}",
        "netfilter": f"{VERIFIED} forwarding",
        "bridge": f"{CONFIGURATION} {ATTACHING} add answer plan",
        "resources": "carrier fabric interface lease masquerade network pair port rules_needs rules_record",
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
        "lease masquerade foreign_drops pair port rules_needs rules_record",
        "resource": "base home identity netns record records view",
        "ipam": "__main__ check config index_records ranges store",
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
    AGAIN: {
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


def calc_imports(call: str, *without: str) -> set[str]:
    """Return the full names of the modules that a call of shibafu-bridge imports.

    Args:
        call: a key of `BUDGETS`.
        without: keys of `PACKAGES`: their modules are left out.
    """
    names = set()
    for package, modules in BUDGETS[call].items():
        if package == "":
            names |= set(modules.split())
        elif package not in without:
            names.add(PACKAGES[package])
            names |= {m if m == "shibafu" else f"{PACKAGES[package]}.{m}" for m in modules.split()}
    return names


def calc_version_imports(plugin: str) -> set[str]:
    """Return the full names of the modules that VERSION imports.

    Args:
        plugin: the package of the plugin.
    """
    return {*VERSION.split(), plugin, f"{plugin}.__main__"}


def list_calls() -> dict[str, set[str]]:
    """Return what calls import, by the module that an executable runs, and the verb if that has a list."""
    mains = [SERVED[program] for program in REPLACED]
    calls = {main: calc_version_imports(main.removesuffix(".__main__")) for main in mains}
    bridge = SERVED["shibafu-bridge"]
    calls |= {f"{bridge} {verb}": calc_imports(verb) for verb in BUDGETS if verb != AGAIN}
    # The first of a network has rules to make.
    calls[f"{bridge} ADD"] |= LOOKING
    return calls
