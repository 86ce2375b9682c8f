"""What has to change on this machine for its networks to be as they are declared."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from shibafu.cni.errors import CniError
from shibafu.networks.attachments import Caller
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError, Failures
from shibafu.networks.inspect import GONE
from shibafu.networks.lifecycle import create_network, remove_bridge, require_free_path, update_network
from shibafu.networks.manifest import Entry
from shibafu.networks.resolve import Resolver
from shibafu.networks.spec import NetworkSpec, calc_conflist, parse_spec
from shibafu.networks.text import format_count

CREATE = "create"
CHANGE = "change"
KEEP = "keep"
# What containers have got already cannot become another by a change of the file.
_FIXED = ("bridge", "subnets")
# Earlier versions left the host open to internal networks.
_CLOSED = "internal, now also towards the host"
# And containers without a way to their own published ports.
_HAIRPIN = "hairpin mode false -> true"


@dataclass(frozen=True)
class NetworkStep:
    """What is done about one network.

    Args:
        action: CREATE, CHANGE or KEEP.
        spec: the network as declared.
        differences: what changes, in words.
        present: the network as it is; None when it is new.
    """

    action: str
    spec: NetworkSpec
    differences: tuple[str, ...] = ()
    present: ConfiguredNetwork | None = None


def calc_plan(
    declared: list[Entry],
    networks: list[ConfiguredNetwork],
    resolver: Resolver,
    caller: Caller,
    directory: str,
) -> list[NetworkStep]:
    """Return what is to be done, in the order of the declaration; nothing is changed.

    Args:
        declared: the networks as declared.
        networks: those that there are; what is not declared stays.
        resolver: what they must not collide with.
        caller: knows the containers.
        directory: where networks are configured.

    Raises:
        CommandError: one of them cannot be; then none is touched.
    """
    present = {network.name: network for network in networks}
    steps: dict[str, NetworkStep] = {}
    # What is chosen must keep clear of what is stated, wherever in the file that is.
    for item in sorted(declared, key=lambda item: not item.partial.subnets):
        try:
            step = _calc_step(item, present.get(item.partial.name), resolver, caller)
            if step.action == CREATE:
                require_free_path(directory, item.partial.name)
            steps[item.partial.name] = step
        except CommandError as error:
            raise CommandError(f"{item.place}: {error.message}", error.hint) from None
        except CniError as error:
            raise CommandError(f"{item.place}: {error.msg}", error.details) from None
    return [steps[item.partial.name] for item in declared]


def _calc_step(
    item: Entry, network: ConfiguredNetwork | None, resolver: Resolver, caller: Caller
) -> NetworkStep:
    if network is None:
        return NetworkStep(CREATE, resolver.resolve(item.partial))
    old = parse_spec(network.name, network.config.plugins)
    if old is None:
        raise CommandError(
            f"network {network.name} has plugins or keys that a manifest cannot express",
            f"omit it, or remove it: shibafu network rm {network.name}",
        )
    new = resolver.resolve(item.partial, old)
    changed = [
        field.name for field in fields(NetworkSpec) if getattr(old, field.name) != getattr(new, field.name)
    ]
    if not changed and calc_conflist(new)["plugins"] == network.config.plugins:
        return NetworkStep(KEEP, new, present=network)
    if set(changed) & set(_FIXED):
        _require_unused(network, caller)
    differences = tuple(_describe(name, old, new) for name in changed)
    unwritten = (_CLOSED,) if new.is_internal else (_HAIRPIN,)
    return NetworkStep(CHANGE, new, differences or unwritten, network)


def _require_unused(network: ConfiguredNetwork, caller: Caller) -> None:
    living = [endpoint for endpoint in caller.find_endpoints(network) if endpoint.state != GONE]
    if living:
        raise CommandError(
            f"network {network.name} has {format_count(len(living), 'container')}, "
            "so its subnets and its bridge cannot be changed",
            f"disconnect them first: {', '.join(sorted({endpoint.container_id for endpoint in living}))}",
        )


def _describe(name: str, old: NetworkSpec, new: NetworkSpec) -> str:
    before, after = (_format(getattr(spec, name)) for spec in (old, new))
    return f"{name.removeprefix('is_').replace('_', ' ')} {before} -> {after}"


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return " and ".join(
            str(subnet.network)
            + (f" gateway {subnet.gateway}" if subnet.gateway is not None else "")
            + (f" range {subnet.first}-{subnet.last}" if subnet.first is not None else "")
            for subnet in value
        )
    if isinstance(value, dict):
        return ", ".join(f"{key}={option}" for key, option in value.items()) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def carry_out(
    steps: list[NetworkStep],
    networks: list[ConfiguredNetwork],
    directory: str,
    caller: Caller,
    failures: Failures,
) -> list[NetworkStep]:
    """Do what a plan says; return the steps that were done.

    Args:
        steps: the plan.
        networks: those that there are.
        directory: where they are configured.
        caller: knows the kernel.
        failures: takes the steps that fail.
    """
    done = []
    for step in steps:
        with failures.part(f"network {step.spec.name}"):
            _carry_out(step, networks, directory, caller)
            done.append(step)
    return done


def _carry_out(step: NetworkStep, networks: list[ConfiguredNetwork], directory: str, caller: Caller) -> None:
    if step.action == CREATE:
        create_network(directory, step.spec)
    elif step.action == CHANGE and step.present is not None:
        update_network(step.present.config.path, step.spec)
        if any(difference.startswith(_FIXED) for difference in step.differences):
            # It has no containers; the next one makes the bridge with the new addresses.
            others = [network for network in networks if network.name != step.spec.name]
            remove_bridge(step.present, others, caller.kernel)


def describe_step(step: NetworkStep) -> dict[str, Any]:
    """Return a step for programs."""
    subnets = [
        {k: str(v) for k, v in asdict(subnet).items() if v is not None} for subnet in step.spec.subnets
    ]
    return {
        "network": step.spec.name,
        "action": step.action,
        "differences": list(step.differences),
        "bridge": step.spec.bridge,
        "subnets": subnets,
    }
