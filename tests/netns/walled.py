"""Networks of containers behind shibafu-firewall, or the reference's plugin of that role."""

from pathlib import Path
from typing import Any

from support.machine import Config, Machine
from support.namespaces import Namespace

REFERENCE = Path("/usr/lib/cni")
SUBNETS = {"a": ("10.1.0.0/24", "fd00:1::/64"), "b": ("10.2.0.0/24", "fd00:2::/64"), "c": ("10.3.0.0/24",)}


def enter(
    machine: Machine,
    network: str = "a",
    container: str = "c1",
    bridge: Config | None = None,
    **keys: Any,
) -> Config:
    """Attach a container to a bridge and let it through the firewall; return that plugin's configuration.

    Args:
        machine: where; from then on it calls the firewall plugin.
        network: one of `SUBNETS`, on a bridge of its own.
        container: the container.
        bridge: changes the bridge's configuration.
        keys: changes the configuration of that plugin.
    """
    config = attach(machine, network, container, **bridge or {}) | keys
    machine.add(config, container, ifname(network))
    return config


def attach(machine: Machine, network: str = "a", container: str = "c1", **keys: Any) -> Config:
    """Attach a container to a bridge; return what the next plugin of the chain is given."""
    machine.plugin = machine.suite.bridge
    result = machine.add(configure_bridge(machine, network) | keys, container, ifname(network))
    machine.plugin = machine.suite.directory / "firewall"
    return {"cniVersion": "1.0.0", "name": network, "type": "firewall", "prevResult": result}


def leave(machine: Machine, config: Config, container: str = "c1", **env: str) -> None:
    """Take a container off its network as a runtime does: the firewall's DEL, then the bridge's."""
    machine.plugin = machine.suite.directory / "firewall"
    machine.delete(config, container, ifname(config["name"]), **env)
    machine.plugin = machine.suite.bridge
    machine.delete(configure_bridge(machine, config["name"]), container, ifname(config["name"]), **env)
    machine.plugin = machine.suite.directory / "firewall"


def configure_bridge(machine: Machine, network: str) -> Config:
    """Return a bridge's network without rules of its own."""
    subnets = SUBNETS[network]
    return machine.config(
        *subnets,
        name=network,
        bridge=f"br-{network}",
        ipMasq=False,
        cniVersion="1.0.0",
        isDefaultGateway=True,
    )


def ifname(network: str) -> str:
    """Return what interfaces are called on a network, so that a container can be on several."""
    return f"net-{network}"


def address(config: Config, version: int = 4) -> str:
    """Return a container's address."""
    found = [ip["address"].partition("/")[0] for ip in config["prevResult"]["ips"]]
    return str(next(one for one in found if (":" in one) == (version == 6)))


def close_host(machine: Machine) -> None:
    """Have the host forward nothing that no rule accepts, as Docker does."""
    for family in ("iptables", "ip6tables"):
        machine.iptables("-P", "FORWARD", "DROP", family=family)


def lead_outside_back(outside: Namespace) -> None:
    """Have the world beyond the host send to containers by way of the host."""
    outside.run("ip", "route", "add", "10.0.0.0/8", "via", "203.0.113.1")
    outside.run("ip", "-6", "route", "add", "fd00::/16", "via", "2001:db8:ff::1")


def read_chain(machine: Machine, chain: str, family: str = "iptables") -> list[str]:
    """Return the rules of a chain."""
    prefix = f"{family} -A {chain} "
    return [rule.removeprefix(prefix) for rule in machine.rules() if rule.startswith(prefix)]


def remembered(machine: Machine) -> set[str]:
    """Return the files of what the plugin remembers of this host."""
    root = Path("/run/shibafu/firewall") / machine.records.name
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def assert_open_again(machine: Machine) -> None:
    """See that neither a rule is left nor anything remembered."""
    assert machine.rules() == []
    assert machine.tables() == set()
    assert remembered(machine) == set()
