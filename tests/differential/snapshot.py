"""The kernel's and the store's state as a flat table: one name and one value for each fact.

What a suite may choose freely (hardware addresses, the names of links on the host, indices) is given
the same word in both: a link of the host is named after the container's interface that it leads to.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

Entered = Callable[[str], AbstractContextManager[None]]

# Of each link; those of the family that is off in the kernel are not there.
_SYSCTLS = (
    "ipv4/conf/{}/arp_notify",
    "ipv4/conf/{}/route_localnet",
    "ipv6/conf/{}/accept_dad",
    "ipv6/conf/{}/accept_ra",
    "ipv6/conf/{}/autoconf",
    "ipv6/conf/{}/disable_ipv6",
    "ipv6/conf/{}/enhanced_dad",
    "ipv6/conf/{}/keep_addr_on_down",
    "ipv6/conf/{}/ndisc_notify",
)
_HOST_SYSCTLS = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
_FLAGS = ("UP", "PROMISC", "ALLMULTI", "NOARP")
_OWN_LINKS = ("lo", "uplink")
# Routes that the kernel makes for addresses.
_AUTOMATIC = ("local", "multicast", "broadcast", "anycast")


def flatten(seen: dict[str, str], name: str, value: object) -> None:
    """Add a JSON value to a flat table: `name.key[0].key`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            flatten(seen, f"{name}.{key}", item)
    elif isinstance(value, list) and value:
        for i, item in enumerate(value):
            flatten(seen, f"{name}[{i}]", item)
    else:
        seen[name] = value if isinstance(value, str) else json.dumps(value)


def snapshot_networks(containers: list[str], entered: Entered) -> dict[str, str]:
    """Return the state of the host and the containers."""
    seen: dict[str, str] = {}
    links = {}
    for namespace in ("host", *containers):
        with entered(namespace):
            links[namespace] = _query("-d", "addr", "show")
    names = _name_host_links(links)
    for namespace in ("host", *containers):
        with entered(namespace):
            own = names if namespace == "host" else {}
            _add_links(seen, namespace, links[namespace], own)
            _add_routes(seen, namespace, own)
            if namespace == "host":
                for sysctl in _HOST_SYSCTLS:
                    _add_sysctl(seen, "host", sysctl)
                _add_rules(seen)
    return seen


def _query(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *arguments], check=True, capture_output=True)
    entries = json.loads(done.stdout or b"[]")
    return [entry for entry in entries if entry]


def _name_host_links(links: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Return a common name for each link of the host that leads into a container."""
    by_index = {link["ifindex"]: link["ifname"] for link in links["host"]}
    names = {}
    for container, inside in links.items():
        for link in inside:
            if container == "host" or link.get("linkinfo", {}).get("info_kind") != "veth":
                continue
            peer = by_index.get(link.get("link_index"))
            if peer is not None:
                names[peer] = f"port({container}/{link['ifname']})"
    # One whose other end has been moved or renamed is still what the plugins made.
    ports = {name: names.get(name, "port(?)") for name in by_index.values() if name.startswith("veth")}
    # What containers send is delayed in these.
    return ports | {name: "delay" for name in by_index.values() if name.startswith("bwp")}


def _add_links(
    seen: dict[str, str], namespace: str, links: list[dict[str, Any]], names: dict[str, str]
) -> None:
    for link in links:
        real_name = link["ifname"]
        if real_name in _OWN_LINKS:
            if real_name == "lo":
                seen[f"{namespace} link lo flags"] = _calc_flags(link)
            continue
        name = f"{namespace} link {names.get(real_name, real_name)}"
        info = link.get("linkinfo", {})
        port = info.get("info_slave_data", {})
        facts = {
            "kind": info.get("info_kind", "none"),
            "name": real_name,
            "flags": _calc_flags(link),
            "mtu": link["mtu"],
            "queue": link.get("txqlen"),
            "master": link.get("master"),
            "promiscuity": link.get("promiscuity"),
            "hairpin": port.get("hairpin"),
            "isolated": port.get("isolated"),
            "learning": port.get("learning"),
            "flood": port.get("flood"),
            "port state": port.get("state"),
            "address": link["address"],
        }
        bridge = info.get("info_data", {}) if info.get("info_kind") == "bridge" else {}
        facts |= {key: bridge.get(key) for key in ("vlan_filtering", "vlan_default_pvid", "stp_state")}
        for fact, value in facts.items():
            if value not in (None, ""):
                seen[f"{name} {fact}"] = str(value)
        for sysctl in _SYSCTLS:
            _add_sysctl(seen, name, sysctl, real_name)
        for address in link.get("addr_info", []):
            # The kernel makes link-local ones of the hardware address, some time later.
            if address["scope"] != "link" or address["family"] == "inet":
                facts_of = _calc_address(address, _detects_duplicates(real_name))
                seen[f"{name} has {address['local']}/{address['prefixlen']}"] = facts_of


def _calc_flags(link: dict[str, Any]) -> str:
    return " ".join(flag for flag in _FLAGS if flag in link["flags"]) or "DOWN"


def _detects_duplicates(link: str) -> bool:
    switches = (Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad") for name in ("all", link))
    return any(switch.is_file() and int(switch.read_text()) > 0 for switch in switches)


def _calc_address(address: dict[str, Any], detects_duplicates: bool) -> str:
    facts = [f"scope {address['scope']}"]
    if "broadcast" in address:
        facts.append(f"broadcast {address['broadcast']}")
    # Without the detection an address is tentative as well, until a worker of the kernel has seen it.
    flags = ["tentative"] * detects_duplicates + ["dadfailed", "deprecated", "dynamic"]
    facts += [flag for flag in flags if address.get(flag)]
    return ", ".join(facts)


def _add_routes(seen: dict[str, str], namespace: str, names: dict[str, str]) -> None:
    for family in ("-4", "-6"):
        for route in _query(family, "route", "show", "table", "all"):
            destination = route["dst"]
            device = route.get("dev", "")
            is_automatic = destination.startswith(("fe80:", "ff00:")) or route.get("type") in _AUTOMATIC
            if device in _OWN_LINKS or is_automatic:
                continue
            table = route.get("table", "main")
            family_name = f"IPv{family[1]}"
            name = (
                f"{namespace} {family_name} route {destination} table {table} dev {names.get(device, device)}"
            )
            facts = [
                f"{key} {route[key]}"
                for key in ("type", "gateway", "protocol", "scope", "prefsrc", "metric")
                if key in route and (key, route[key]) != ("type", "unicast")
            ]
            facts += [
                f"{key} {value}" for metrics in route.get("metrics", []) for key, value in metrics.items()
            ]
            facts += [flag for flag in route.get("flags", []) if flag not in ("linkdown",)]
            seen[name] = ", ".join(facts)


def _add_sysctl(seen: dict[str, str], owner: str, sysctl: str, link: str = "") -> None:
    try:
        value = Path("/proc/sys/net", sysctl.format(link)).read_text().strip()
    except OSError:
        return
    seen[f"{owner} sysctl {sysctl.format('*')}"] = value


def _add_rules(seen: dict[str, str]) -> None:
    """Count rules and chains that somebody added; what rules do is seen by probing, not by reading."""
    done = subprocess.run(["nft", "-j", "list", "ruleset"], check=True, capture_output=True)
    entries = json.loads(done.stdout)["nftables"]
    rules = sum("rule" in entry for entry in entries)
    chains = sum("chain" in entry and "hook" not in entry["chain"] for entry in entries)
    seen["host firewall"] = "rules" if rules or chains else "empty"
    bridge = [e["rule"] for e in entries if "rule" in e and e["rule"]["family"] == "bridge"]
    seen["host firewall of bridges"] = "rules" if bridge else "empty"


def snapshot_store(store: Path) -> dict[str, str]:
    """Return the state of the store."""
    seen: dict[str, str] = {}
    for path in sorted(store.rglob("*")):
        # The index is ours alone; the reference does not look there.
        if any(part.startswith(".") for part in path.relative_to(store).parts):
            continue
        status = path.lstat()
        name = f"store {path.relative_to(store)}"
        seen[f"{name} mode"] = f"{status.st_mode:o}"
        if path.is_file():
            seen[f"{name} content"] = repr(path.read_bytes().decode("utf-8", "backslashreplace"))
    return seen
