"""The picture of a network."""

from dataclasses import replace

from shibafu.networks.diagram import draw_network
from shibafu.networks.inspect import (
    BridgeState,
    Endpoint,
    NetworkView,
    ResourceFault,
    ResourceState,
    SubnetUse,
)
from shibafu.networks.kernel import Traffic
from shibafu.networks.text import Style


def make_view(*endpoints: Endpoint, bridge: BridgeState | None = None) -> NetworkView:
    subnet = SubnetUse("10.1.0.0/24", "10.1.0.1", "10.1.0.254", "10.1.0.1", 253, len(endpoints))
    return NetworkView(
        "blue", "/etc/cni/net.d/blue.conflist", "1.1.0", ["shibafu-bridge"], bridge, [subnet], list(endpoints)
    )


def make_endpoint(name: str, state: str = "up") -> Endpoint:
    return Endpoint(name, "eth0", "", "veth1", "", ["10.1.0.2/24"], state, Traffic(1, 1, 2000, 2), ["cache"])


def test_a_picture_is_straight() -> None:
    addresses = ["10.1.0.1/24", "fd00::1/64"]
    bridge = BridgeState("br-blue", "up", "02:00:00:00:00:01", 1500, addresses, True, None)
    lines = draw_network(
        make_view(make_endpoint("web"), make_endpoint("db-1", "no carrier"), bridge=bridge), Style(False)
    )
    box = [line for line in lines if line.startswith((" ┌", " │", " └"))]
    assert len({len(line) for line in box}) == 1
    assert "br-blue  bridge, up, isolated" in box[1]
    (top,) = (line for line in lines if "┌" in line)
    assert lines[lines.index(top) - 1].index("│") == top.index("┴")
    assert [line[3] for line in lines[-2:]] == ["├", "└"]
    assert lines[-2].index("10.1.0.2") == lines[-1].index("10.1.0.2")
    assert "─✗──" in lines[-1]
    assert "↓ 1 B ↑ 2.0 kB" in lines[-2]


def test_a_picture_names_what_is_wrong() -> None:
    faults = [
        ResourceFault("hairpin mode of link veth1 is off", ""),
        ResourceFault("link veth1 is isolated", ""),
    ]
    port = ResourceState("port", {"hairpinMode": True}, faults)
    gateway = ResourceState(
        "gateway", {}, [ResourceFault("forwarding of IPv4 is turned off on the host", "")]
    )
    view = replace(
        make_view(replace(make_endpoint("web"), resources=[port]), make_endpoint("db")), resources=[gateway]
    )
    lines = draw_network(view, Style(False))
    assert lines[1] == "✗ forwarding of IPv4 is turned off on the host"
    assert "─✗── eth0  web" in lines[-2]
    assert lines[-2].endswith("  ✗ hairpin mode of link veth1 is off (and 1 more)")
    assert "✗" not in lines[-1]


def test_a_picture_of_nothing() -> None:
    missing = BridgeState("br-blue", "missing", "", 0, [], False, None)
    lines = draw_network(make_view(bridge=missing), Style(False))
    assert "no containers" in lines[-1]
    assert not any("the world" in line for line in lines)
    assert any("br-blue  bridge, missing" in line for line in lines)
