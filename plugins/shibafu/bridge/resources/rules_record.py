"""The record of a network's rules: a hint of what was made, whatever the configuration says now."""

from shibafu.bridge.config import is_valid_link_name
from shibafu.cni.names import ISOLATED, OPEN, STRICT
from shibafu.lean.ip import Cidr, parse_cidr
from shibafu.netfilter.network_rulesets import NetworkRules

# What a record says besides the rules: how far they have been made, and with what.
_PROGRESS = ("backends", "complete", "stamp")


def combine(rules: NetworkRules, record: dict[str, object]) -> NetworkRules:
    """Return the rules of all containers: of one, by its configuration, and of those in the record.

    Masquerading is a container's, which may depend on it until it ends; isolation is the network's.
    """
    # As a rule all containers need the same.
    if {key: value for key, value in record.items() if key not in _PROGRESS} == rules.to_record():
        return rules
    bridges = rules.bridges + recorded_bridges(record)
    subnets = rules.subnets + recorded_ranges(record, "subnets")
    peers = rules.peers + recorded_ranges(record, "peers")
    is_masqueraded = rules.is_masqueraded or was_masqueraded(record)
    versions = rules.versions() + recorded_versions(record, "versions")
    bridged = rules.bridged + recorded_versions(record, "bridged")
    was_strict = rules.was_strict or bool(record.get("strict"))
    is_rerouted = rules.is_rerouted or bool(record.get("rerouted"))
    return NetworkRules(
        rules.network,
        bridges,
        subnets,
        is_masqueraded,
        rules.isolation,
        versions,
        bridged,
        was_strict,
        peers,
        is_rerouted,
    )


def was_masqueraded(record: dict[str, object]) -> bool:
    """Return whether the rules masquerade and forward."""
    # Before there was isolation, there were no other rules, and the record did not say.
    return bool(record.get("masqueraded", "backends" in record))


def recorded_isolation(record: dict[str, object]) -> str:
    """Return which other networks are kept apart: OPEN, ISOLATED or STRICT."""
    value = record.get("isolated")
    if value == STRICT:
        return STRICT
    return ISOLATED if value else OPEN


def recorded_bridges(record: dict[str, object]) -> list[str]:
    """Return the links that traffic enters and leaves the host by."""
    # Records had one bridge before a change of it was thought of.
    bridges = record.get("bridges", [record["bridge"]] if "bridge" in record else [])
    names = bridges if isinstance(bridges, list) else []
    return [name for name in names if isinstance(name, str) and is_valid_link_name(name)]


def recorded_ranges(record: dict[str, object], key: str) -> list[Cidr]:
    """Return the ranges of addresses below a key: `subnets`, the containers', or `peers`."""
    ranges = record.get(key)
    try:
        return [parse_cidr(str(one)) for one in ranges] if isinstance(ranges, list) else []
    except ValueError:
        return []  # it is a hint; somebody has written into it


def recorded_versions(record: dict[str, object], key: str) -> list[int]:
    """Return the families below a key, `versions` or `bridged`; see `NetworkRules`."""
    versions = record.get(key)
    return [version for version in (4, 6) if isinstance(versions, list) and version in versions]


def recorded_backends(record: dict[str, object]) -> list[str]:
    """Return the backends that the network may have rules of: one, unless a change of them broke off."""
    backends = record.get("backends")
    return [str(name) for name in backends] if isinstance(backends, list) else []
