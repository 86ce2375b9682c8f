"""`shibafu overlay doctor`: what it finds."""

import pytest

from netns.overlay_lab import OverlayLab, calc_host

pytestmark = pytest.mark.long


def test_nothing_is_wrong(lab: OverlayLab) -> None:
    assert lab.hosts[1].diagnose() == {}


def test_a_firewall_drops_the_vxlan(lab: OverlayLab) -> None:
    rule = "type filter hook input priority 0; udp dport 8472 drop;"
    lab.hosts[0].namespace.run("nft", f"table ip cut {{ chain c {{ {rule} }}; }}")
    assert lab.hosts[1].diagnose() == {"VXLAN": "192.168.77.11 answers, but not through the VXLAN"}


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
