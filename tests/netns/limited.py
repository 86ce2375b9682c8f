"""Containers whose traffic is limited."""

from json import loads
from pathlib import Path
from typing import Any

from support.machine import Config, Machine

REFERENCE = Path("/usr/lib/cni/bandwidth")


def attach(machine: Machine, container: str = "c1", ifname: str = "eth0", **keys: Any) -> Config:
    """Attach a container to a bridge; return what the next plugin of the chain is given.

    Args:
        machine: where; from then on it calls the bandwidth plugin.
        container: the container.
        ifname: its interface.
        keys: changes the network of that plugin.
    """
    machine.plugin = machine.suite.bridge
    network = machine.config(ipMasq=False, cniVersion="1.0.0")
    result = machine.add(network, container, ifname)
    machine.plugin = machine.suite.directory / "bandwidth"
    return {"cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "prevResult": result} | keys


def detach(machine: Machine, container: str = "c1", ifname: str = "eth0") -> None:
    """Take a container off the bridge, and call the bandwidth plugin again afterwards."""
    machine.plugin = machine.suite.bridge
    machine.delete(machine.config(ipMasq=False, cniVersion="1.0.0"), container, ifname)
    machine.plugin = machine.suite.directory / "bandwidth"


def find_port(config: Config) -> str:
    """Return the container's link on the host."""
    return str(config["prevResult"]["interfaces"][1]["name"])


def find_delay_links(machine: Machine) -> list[str]:
    """Return the links of kind ifb."""
    return [
        name for name, link in machine.links().items() if link.get("linkinfo", {}).get("info_kind") == "ifb"
    ]


def read_qdiscs(machine: Machine, port: str) -> list[Config]:
    """Return what delays packets, without names that differ from plugin to plugin, and counters."""
    found: list[Config] = loads(machine.host.run("tc", "-s", "-j", "qdisc"))
    links = {port: "port"} | dict.fromkeys(find_delay_links(machine), "ifb")
    kept = ("kind", "handle", "root", "parent", "options")
    return sorted(
        (
            {"dev": links[qdisc["dev"]]} | {key: qdisc[key] for key in kept if key in qdisc}
            for qdisc in found
            if qdisc["dev"] in links and qdisc["kind"] != "noqueue"
        ),
        key=str,
    )


def read_filters(machine: Machine, port: str) -> list[str]:
    """Return where what the container sends is redirected to."""
    text = machine.host.run("tc", "filter", "show", "dev", port, "ingress")
    return [line.strip() for line in text.splitlines() if "mirred" in line]
