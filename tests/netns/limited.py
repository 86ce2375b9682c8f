"""Containers whose traffic is limited, and how fast it is, by iperf3(1)."""

import subprocess
from json import loads
from pathlib import Path
from statistics import median
from typing import Any

from support.machine import SYSTEM_PATH, Config, Machine
from support.namespaces import Namespace

REFERENCE = Path("/usr/lib/cni/bandwidth")
MBIT = 1_000_000
_SECONDS = 2
# On a busy machine a measurement may tell of the machine.
_TRIES = 5


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


def measure(
    sender: Namespace, receiver: Namespace, address: str, rate: int, protocol: str = "tcp", port: int = 5201
) -> float:
    """Return how fast data arrives, as a share of a rate; of several tries the nearest to it.

    Args:
        sender: whence it is sent.
        receiver: where it arrives.
        address: the receiver's.
        rate: the limit, in bits a second.
        protocol: udp is sent twice as fast as that.
        port: the receiver's, if several measurements are made at a time.
    """
    found = 0.0
    for _ in range(_TRIES):
        share = _measure_once(sender, receiver, address, rate, protocol, port)
        found = min(found, share, key=lambda one: abs(1 - one))
        if 0.9 <= found <= 1.1:
            break
    return found


def _measure_once(
    sender: Namespace, receiver: Namespace, address: str, rate: int, protocol: str, port: int
) -> float:
    inside = ["ip", "netns", "exec"]
    listen = ["iperf3", "--server", "--one-off", "--json", "--interval", "0.25", "--port", str(port)]
    server = subprocess.Popen(
        [*inside, receiver.name, *listen], stdout=subprocess.PIPE, env={"PATH": SYSTEM_PATH}
    )
    try:
        _wait_for_listener(receiver, port)
        send = ["iperf3", "--client", address, "--port", str(port), "--time", str(_SECONDS)]
        if protocol == "udp":
            send += ["--udp", "--bitrate", str(2 * rate), "--length", "1400"]
        sender.run(*send)
        output, _ = server.communicate(timeout=30)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(10)
    # In the first of the intervals, what may come at once has come.
    intervals = loads(output)["intervals"][1 : 4 * _SECONDS]
    return float(median(interval["sum"]["bits_per_second"] for interval in intervals)) / rate


def _wait_for_listener(receiver: Namespace, port: int) -> None:
    for _ in range(200):
        if receiver.run("ss", "-Hltn", f"sport = :{port}"):
            return
        subprocess.run(["sleep", "0.02"], check=True)
    raise AssertionError("iperf3 does not listen")
