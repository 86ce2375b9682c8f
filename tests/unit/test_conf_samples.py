"""The samples in conf/ are accepted by what reads them."""

import json
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from shibafu.bandwidth.config import BandwidthConfig
from shibafu.bridge.config import BridgeConfig
from shibafu.cni.config import Section
from shibafu.cni.names import is_valid_identifier
from shibafu.cni.request import Request, parse_request
from shibafu.cni.version import SUPPORTED
from shibafu.engine.programs import SERVED
from shibafu.firewall.config import FirewallConfig
from shibafu.lean.ip import parse_cidr
from shibafu.networks.lifecycle import DEFAULT_BRIDGE
from shibafu.networks.subnets import DEFAULT_SUBNET
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.subnet_file import HostSubnet
from shibafu.portmap.config import PortmapConfig
from shibafu.tuning.config import TuningConfig
from shibafu.watch.routers.config import read_router_config
from shibafu_ipam.config import DEFAULT_DATA_DIR, IpamConfig

CONF = Path(__file__).parents[2] / "conf"
SAMPLES = sorted(CONF.glob("*.conflist"))


def load(path: Path) -> dict[str, Any]:
    network: dict[str, Any] = json.loads(path.read_text())
    return network


def build_request(network: dict[str, Any], plugin: dict[str, Any], **given: object) -> Request:
    """Return an ADD of a plugin of the network, as a runtime makes it; `given` is by capability."""
    capable = {key: given[key] for key in given if plugin.get("capabilities", {}).get(key)}
    document = plugin | {key: network[key] for key in ("cniVersion", "name")} | {"runtimeConfig": capable}
    env = {"CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/c"}
    return parse_request(env, "ADD", json.dumps(document).encode(), Section(document, "NetConf"))


def subnets(network: dict[str, Any]) -> list[str]:
    sets = network["plugins"][0].get("ipam", {}).get("ranges", [])
    return [item["subnet"] for items in sets for item in items]


def delegate_of(network: dict[str, Any]) -> dict[str, Any]:
    """Return what the plugin of an overlay hands over to another one."""
    host = HostSubnet([parse_cidr("10.42.0.0/16")], [parse_cidr("10.42.7.1/24")], 1450, ip_masq=False)
    return OverlayConfig(build_request(network, network["plugins"][0])).render(host)


def test_conf_holds_samples_and_their_description_only() -> None:
    files = {path.name for path in CONF.iterdir() if path.is_file()}
    assert files == {path.name for path in SAMPLES} | {"README.md", "routers.yaml"}
    assert SAMPLES
    for name in files - {"README.md"}:
        assert f"({name})" in (CONF / "README.md").read_text()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_is_a_network(path: Path) -> None:
    network = load(path)
    assert network["cniVersion"] in SUPPORTED
    assert is_valid_identifier(network["name"])
    assert {plugin["type"] for plugin in network["plugins"]} <= set(SERVED)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_bridge_accepts_sample(path: Path) -> None:
    network = load(path)
    if network["plugins"][0]["type"] == "shibafu-overlay":
        network["plugins"][0] = delegate_of(network)
    assert network["plugins"][0]["type"] == "shibafu-bridge"
    config = BridgeConfig(build_request(network, network["plugins"][0]))
    assert config.network == network["name"]
    assert config.ipam_type in ("shibafu-ipam", "")


@pytest.mark.parametrize("path", [p for p in SAMPLES if subnets(load(p))], ids=lambda path: path.name)
def test_ipam_accepts_sample(path: Path) -> None:
    network = load(path)
    config = IpamConfig(build_request(network, network["plugins"][0]))
    assert len(config.range_sets) == len(subnets(network))
    assert config.data_dir == DEFAULT_DATA_DIR


def test_uplinks_of_samples_are_those_that_the_description_names() -> None:
    uplinks = {}
    for path in SAMPLES:
        network = load(path)
        if "uplinks" in network["plugins"][0]:
            config = BridgeConfig(build_request(network, network["plugins"][0]))
            assert config.uplinks is not None
            uplinks[path.name] = config.uplinks.links
            assert (config.shared_gateway is not None) == (path.name == "90-shared-gateway.conflist")
    assert uplinks == {"80-uplinks.conflist": ("eth1", "eth2"), "90-shared-gateway.conflist": ("eth3",)}


def test_sample_of_routers() -> None:
    routers = read_router_config(str(CONF / "routers.yaml"))
    assert [(router.dev, router.metric) for router in routers] == [("eth0", 100), ("eth1", 200)]


def test_chained_plugins_do_what_the_description_says() -> None:
    network = load(CONF / "40-chained.conflist")
    assert network["cniVersion"] == "1.0.0"
    ports = [{"hostPort": 8080, "containerPort": 80}]
    _, *requests = (
        build_request(network, plugin, portMappings=ports, bandwidth={"ingressRate": 10**7})
        for plugin in network["plugins"]
    )
    tuning, firewall, portmap, bandwidth = requests
    assert TuningConfig(tuning).sysctls == {"/proc/sys/net/core/somaxconn": "8192"}
    assert FirewallConfig(firewall.config.values).is_isolated
    assert len(PortmapConfig(portmap).mappings) == 1
    assert not BandwidthConfig(bandwidth.config).is_empty


def test_samples_can_be_used_together() -> None:
    networks = [load(path) for path in SAMPLES]
    assert len({network["name"] for network in networks}) == len(networks)
    plugins = [network["plugins"][0] for network in networks]
    # Nor are they those of the network that `shibafu run` creates.
    bridges = {plugin.get("delegate", plugin)["bridge"] for plugin in plugins}
    assert len(bridges | {DEFAULT_BRIDGE}) == len(networks) + 1
    ranges = [ip_network(subnet) for network in networks for subnet in subnets(network)]
    ranges.append(DEFAULT_SUBNET)
    assert not any(a.overlaps(b) for a, b in combinations(ranges, 2))
