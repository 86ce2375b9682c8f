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
from shibafu.networks.rules import CountedRule
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


def test_a_picture_tells_uplinks_from_other_ports() -> None:
    uplinks = ResourceState("uplinks", {"bridge": "br-blue", "links": ["eth1", "eth2"]}, [])
    ports = ["bond-br-blue", "eth1", "tap7"]
    view = replace(make_view(make_endpoint("web")), other_ports=ports, resources=[uplinks])
    assert draw_network(view, Style(False))[-3:] == [
        "   ├─ bond-br-blue  uplink",
        "   ├─ eth1  uplink",
        "   └─ tap7  no container's",
    ]


def test_a_picture_shows_ports_and_limits_below_their_container() -> None:
    mapping = {"hostPort": 5300, "containerPort": 53, "protocol": "udp", "range": 3, "hostIP": "fd00::1"}
    resources = [
        ResourceState("rateLimit", {"limits": "ingress", "rate": 100_000_000}, []),
        ResourceState("rateLimit", {"limits": "egress", "rate": 5_000_000}, []),
        ResourceState("publishedPorts", {"portMappings": [mapping, mapping | {"hostIP": ""}]}, []),
    ]
    web = replace(make_endpoint("web"), resources=resources)
    lines = draw_network(make_view(web, make_endpoint("db")), Style(False))
    assert lines[-3] == "   │".ljust(lines[-4].index("web")) + (
        "publishes [fd00::1]:5300-5302:53-55/udp, 5300-5302:53-55/udp"
    )
    assert lines[-2].split("│")[1].strip() == "receives at most 100 Mbit/s and sends at most 5 Mbit/s"
    assert "└─ veth1" in lines[-1]
    narrow = draw_network(make_view(make_endpoint("db"), web), Style(False, 64))[-4:]
    assert [line[:4] for line in narrow] == ["    "] * 4
    assert max(map(len, narrow)) <= 64


def test_a_rule_of_the_network_does_not_repeat_its_name() -> None:
    texts = [f'-i br0 -m comment --comment "shibafu network {name}" -j ACCEPT' for name in ("blue", "red")]
    rules = [CountedRule("ipv4", "filter", "FORWARD", text, 7, 420) for text in texts]
    lines = draw_network(replace(make_view(), rules=rules), Style(False))
    assert lines[-2].endswith("420 B  -i br0 -j ACCEPT")
    assert lines[-1].endswith(f"  {texts[1]}")


def test_names_are_whole_and_long_ids_are_short() -> None:
    cnitool, podman = "cnitool-d7316f0896ce1b162e1e", "0123456789abcdef" * 4
    lines = draw_network(make_view(make_endpoint(cnitool), make_endpoint(podman)), Style(False))
    assert f"eth0  {cnitool}  10" in lines[-2]
    assert f"eth0  {podman[:12]} " in lines[-1]
    assert podman[:13] not in lines[-1]


def test_a_picture_of_nothing() -> None:
    missing = BridgeState("br-blue", "missing", "", 0, [], False, None)
    lines = draw_network(make_view(bridge=missing), Style(False))
    assert "no containers" in lines[-1]
    assert not any("the world" in line for line in lines)
    assert any("br-blue  bridge, missing" in line for line in lines)


def test_a_picture_tells_who_leads_out_by_another_network() -> None:
    routes = {"web": {"ipv4": True, "ipv6": True}, "db": {"ipv4": False, "ipv6": False}}
    endpoints = [replace(make_endpoint(name), default_routes=found) for name, found in routes.items()]
    lines = draw_network(make_view(*endpoints), Style(False))
    (line,) = (line for line in lines if "leads out" in line)
    assert line.strip() == "another network leads out by IPv4 and IPv6"
    assert "db" in lines[lines.index(line) - 1]
