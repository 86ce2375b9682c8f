"""`shibafu overlay doctor`: what it finds."""

from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, OverlayLab, calc_host, wait_until

pytestmark = pytest.mark.long


def test_nothing_is_wrong(lab: OverlayLab) -> None:
    assert lab.hosts[1].diagnose() == {}


def test_a_firewall_drops_the_vxlan(lab: OverlayLab) -> None:
    rule = "type filter hook input priority 0; udp dport 8472 drop;"
    lab.hosts[0].namespace.run("nft", f"table ip cut {{ chain c {{ {rule} }}; }}")
    assert lab.hosts[1].diagnose() == {"VXLAN": "192.168.77.11 answers, but not through the VXLAN"}


def test_what_carries_ipv6_is_looked_at_too(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2, DUAL_STACK) as lab:
        lab.start()
        first, second = lab.hosts
        wait_until(lambda: "flannel-v6.1 is set up" in first.read_log(), "its device")
        wait_until(lambda: any("fd42" in entry for entry in second.list_entries()), "its routes")
        assert second.diagnose() == {}
        rule = "type filter hook input priority 0; udp dport 8472 drop;"
        first.namespace.run("nft", f"table ip6 cut {{ chain c {{ {rule} }}; }}")
        assert second.diagnose() == {"VXLAN over IPv6": "fd77::11 answers, but not through the VXLAN"}
        first.namespace.run("nft", "delete table ip6 cut")
        lab.switch.run("ip", "link", "set", f"port{first.number}", "mtu", "1440")
        first.namespace.run("ip", "link", "set", "eth0", "mtu", "1440")
        assert set(second.diagnose()) == {"MTU", "MTU over IPv6"}


def test_a_link_on_the_way_is_too_small(lab: OverlayLab) -> None:
    first = lab.hosts[0]
    lab.switch.run("ip", "link", "set", f"port{first.number}", "mtu", "1400")
    first.namespace.run("ip", "link", "set", "eth0", "mtu", "1400")
    (check,) = lab.hosts[1].diagnose()
    assert check == "MTU"


def test_a_host_is_gone(lab: OverlayLab) -> None:
    lab.etcd.ctl("put", *calc_host(1))
    assert lab.hosts[1].diagnose() == {"hosts": "192.168.100.1 does not answer"}
    lab.etcd.ctl("put", *calc_host(2))
    assert lab.hosts[1].diagnose() == {"hosts": "192.168.100.1, 192.168.100.2 do not answer"}


def test_another_device_has_the_vni(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    second.stop()
    second.namespace.run("ip", "link", "del", "flannel.1")
    kind = ("type", "vxlan", "id", "1", "dstport", "8472", "dev", "eth0")
    second.namespace.run("ip", "link", "add", "vx", *kind)
    found = lab.hosts[1].diagnose()
    assert found["agent"] == "it is not running"
    assert found["VNI"] == "the device vx has the VNI and the port of this network"


def test_etcd_is_down(lab: OverlayLab) -> None:
    lab.etcd.stop()
    second = lab.hosts[1]
    (endpoint,) = lab.urls
    assert second.diagnose() == {f"etcd at {endpoint}": "cannot be reached: connection refused"}
    said = second.command("doctor", status=1)
    assert said.count(endpoint) == 1
    assert "start etcd there, have it listen on that address" in said
    # What does not need etcd is looked at all the same.
    second.stop()
    assert second.diagnose()["agent"] == "it is not running"


def test_etcd_wants_a_password(lab: OverlayLab) -> None:
    lab.etcd.ctl("user", "add", "root:secret")
    lab.etcd.ctl("user", "grant-role", "root", "root")
    lab.etcd.ctl("auth", "enable")
    (endpoint,) = lab.urls
    said = lab.hosts[1].diagnose()[f"etcd at {endpoint}"]
    assert said.startswith("refuses a request: ")
