"""docs/migrating.md, line by line: from the reference's plugins to shibafu, and back."""

import json
import re
from pathlib import Path

from e2e.libcni import CniTool
from e2e.machine import HOST, OUTSIDE, REFERENCE, Machine

ROOT = Path(__file__).parents[2]
NETWORK = "net"
BRIDGE = {
    "type": "bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.90.0.0/24"}], [{"subnet": "fd90::/64"}]]},
}
CHAIN = (
    {"type": "tuning", "sysctl": {"net.core.somaxconn": "8192"}},
    {"type": "firewall"},
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "bandwidth", "egressRate": 10**8, "egressBurst": 10**7},
)
# Such a network's containers may go on when the plugins change.
PLAIN = BRIDGE | {
    "bridge": "cni1",
    "ipMasq": False,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.91.0.0/24"}]]},
}


def find_steps(heading: str) -> list[str]:
    """Return what is typed in a section, block by block."""
    text = (ROOT / "docs/migrating.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$|^\d\. `(rm [^`]*)`", section, re.MULTILINE | re.DOTALL)
    return [(block or line).replace("<network>", NETWORK) for block, line in blocks]


def prepare(machine: Machine) -> None:
    """Have the reference's plugins in /opt/cni/bin, and a /usr that can be written to."""
    machine.run("umount", "/opt/cni/bin")
    machine.run("mkdir", "-p", "/run/.over/usr", "/run/.work/usr")
    layers = "lowerdir=/usr,upperdir=/run/.over/usr,workdir=/run/.work/usr"
    machine.run("mount", "-t", "overlay", "overlay", "-o", layers, "/usr")
    machine.run("sh", "-c", f"cp {REFERENCE}/* /opt/cni/bin/")


def publish(port: int) -> str:
    """Return what has a container's port 80 published at a port of the host."""
    return json.dumps({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]})


def see_version(machine: Machine) -> str:
    """Return what the plugin says of itself that containers are attached by."""
    return machine.try_run("sh", "-c", "/opt/cni/bin/bridge --version 2>&1").stdout


def test_everything_is_as_the_document_says(machine: Machine, cnitool: CniTool) -> None:
    prepare(machine)

    def run(step: str) -> str:
        return machine.run("bash", "-ec", f"cd {ROOT}\n{step}")

    machine.network_write(NETWORK, BRIDGE, *CHAIN)
    machine.network_write("plain", PLAIN)
    machine.netns_add("c1", "c2", "c3", "c4", "c5")
    cnitool.add(NETWORK, "c1", CAP_ARGS=publish(8080))
    cnitool.add("plain", "c2")
    machine.serve("c1")
    assert machine.fetch_seen_address(HOST[0], "outside", port=8080) == OUTSIDE[0]
    assert "shibafu" not in see_version(machine)

    *there, look = find_steps("There")
    assert len(there) == 3
    for step in there:
        run(step)
    assert "shibafu" in see_version(machine)
    cnitool.add(NETWORK, "c3", CAP_ARGS=publish(8081))
    machine.serve("c3")
    for port in (8080, 8081):
        assert machine.fetch_seen_address(HOST[0], "outside", port=port) == OUTSIDE[0]
    shown = run(look)
    assert re.search(r"veth[0-9a-f]{11}\b", shown)
    assert f"shibafu network {NETWORK}" in shown
    assert "10.90.0.3" in shown
    machine.serve("outside")
    assert [machine.fetch_seen_address(address, "c1") for address in OUTSIDE] == list(HOST)
    cnitool.check(NETWORK, "c1", CAP_ARGS=publish(8080))

    # The network's containers end, but one is forgotten.
    cnitool.delete(NETWORK, "c1", CAP_ARGS=publish(8080))
    back, find, collect, tidy = find_steps("Back")
    run(back)
    assert "shibafu" not in see_version(machine)
    cnitool.try_run("del", NETWORK, "c3", {"CAP_ARGS": publish(8081)})
    assert f"shibafu network {NETWORK}" in run(find)
    assert "shibafu network" in machine.run("ip", "-d", "link", "show", "type", "ifb")
    run(collect)
    assert "shibafu" not in machine.run("iptables-save") + machine.run("ip6tables-save")
    assert machine.run("ip", "-d", "link", "show", "type", "ifb") == ""
    assert machine.try_fetch_seen_address(HOST[0], "outside", port=8081) is None
    run(tidy)
    cnitool.check("plain", "c2")
    cnitool.add(NETWORK, "c4")
    assert [machine.fetch_seen_address(address, "c4") for address in OUTSIDE] == list(HOST)
    cnitool.delete(NETWORK, "c4")
    cnitool.delete("plain", "c2")
    machine.run("sh", "-c", "rm /var/lib/cni/results/*")  # of c3, whose DEL the reference failed
    run("packaging/uninstall.sh")
    assert machine.leases() == []
