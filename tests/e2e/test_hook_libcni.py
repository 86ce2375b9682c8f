"""One cache for all runtimes: what libcni attached, shibafu checks and detaches, and the other way round."""

import json
from pathlib import Path
from typing import Any

import pytest

import shibafu
from e2e.bundles import Bundles
from e2e.libcni import CniTool
from e2e.machine import CNI_PATH, Machine
from support.suite import Suite

BRIDGE = {
    "type": "shibafu-bridge",
    "bridge": "cni0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "ipam": {"type": "shibafu-ipam", "ranges": [[{"subnet": "10.82.0.0/24"}]]},
}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
BANDWIDTH = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
CHAIN = (BRIDGE, PORTMAP, BANDWIDTH)
ASKED = {
    "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 8_000_000},
    "portMappings": [{"hostPort": 8081, "containerPort": 80, "protocol": "tcp"}],
}

# Calls one verb of the runtime: the arguments are the verb, the container, and capabilities.
_PROGRAM = """
import sys
sys.path.insert(0, {plugins!r})
from shibafu.lean.json import dumps, loads
from shibafu.runtime.chain import Runtime
verb, container, capabilities = sys.argv[1:]
runtime = Runtime([{cni_path!r}])
network = runtime.find_network("net")
arguments = loads(capabilities.encode())
netns = "/run/netns/" + container
result = getattr(runtime, verb)(network, container, netns, "eth0", capabilities=arguments)
print(dumps(result))
"""
_SOURCE = _PROGRAM.format(plugins=str(Path(shibafu.__path__[0]).parent), cni_path=CNI_PATH)


def call(machine: Machine, verb: str, container: str, capabilities: object = None) -> Any:
    """Call the runtime's verb on the machine."""
    arguments = [verb, container, json.dumps(capabilities)]
    return json.loads(machine.run("/usr/bin/python3", "-IS", "-c", _SOURCE, *arguments))


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_libcni_goes_on_with_what_shibafu_attached(machine: Machine, cnitool: CniTool, version: str) -> None:
    machine.network_write("net", *CHAIN, version=version)
    machine.netns_add("c1")
    result = call(machine, "add", "c1", ASKED)
    assert result["cniVersion"] == version
    cnitool.check("net", "c1", CNI_CONTAINERID="c1", CAP_ARGS=json.dumps(ASKED))
    cnitool.delete("net", "c1", CNI_CONTAINERID="c1", CAP_ARGS=json.dumps(ASKED))
    assert machine.leftovers() == []


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_shibafu_goes_on_with_what_libcni_attached(machine: Machine, cnitool: CniTool, version: str) -> None:
    machine.network_write("net", *CHAIN, version=version)
    machine.netns_add("c1")
    cnitool.add("net", "c1", CNI_CONTAINERID="c1", CAP_ARGS=json.dumps(ASKED))
    if version != "0.3.1":
        call(machine, "check", "c1", ASKED)
    # What was asked for is known from the cache: the plugins would leave rules and links otherwise.
    call(machine, "delete", "c1")
    assert machine.leftovers() == []


def test_both_write_the_same_cache(machine: Machine, cnitool: CniTool) -> None:
    machine.network_write("net", *CHAIN)
    machine.netns_add("c1")
    call(machine, "add", "c1", ASKED)
    ours = take_cached(machine)
    cnitool.add("net", "c1", CNI_CONTAINERID="c1", CAP_ARGS=json.dumps(ASKED))
    libcni = take_cached(machine)
    # libcni's namespace came in a later release than Debian's.
    assert ours.pop("netns") == libcni.pop("netns", "/run/netns/c1")
    # Ours alone; libcni passes over it.
    assert ours.pop("netnsIdentity")["inode"]
    # Debian's libcni writes it though there is nothing in it, which the specification has no more in 1.0.0.
    assert libcni["result"].pop("dns") == {}
    assert ours == libcni


def take_cached(machine: Machine) -> Any:
    """Return what the cache says, without the addresses, which are others each time; and detach."""
    document = json.loads(machine.read("/var/lib/cni/results/net-c1-eth0"))
    for ip in document["result"]["ips"]:
        del ip["address"]
    call(machine, "delete", "c1")
    return document


def test_libcni_detaches_a_container_of_the_hook(machine: Machine, cnitool: CniTool, suite: Suite) -> None:
    machine.network_write("net", BRIDGE)
    bundles = Bundles(machine, (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook")
    bundles.write("web1", network="net")
    bundles.start("web1")
    cnitool.delete("net", "web1", CNI_CONTAINERID="web1")
    assert machine.leases() == []
    bundles.remove("web1")
