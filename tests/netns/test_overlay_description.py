"""The network's description in etcd changes while agents are at work, which keep to what they have read."""

import json

import pytest

from netns.overlay_lab import NETWORK, OverlayLab, wait_until

pytestmark = pytest.mark.long
CONFIG = "/coreos.com/network/config"


def test_status_and_doctor_tell_of_it(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["hosts"] == 2, "all hosts")
    entries = second.list_entries()
    words = ("init", second.name, "--network", "10.42.0.0/16", "--mtu", "1400", "--force")
    assert "restart the agent on every host" in second.command(*words)
    wait_until(lambda: second.read_state()["trouble"] != "", "the trouble")
    trouble = "the network's description in etcd has changed since the agent read it: MTU"
    said = second.command("status", status=1)
    assert trouble in said
    assert "restart the agent, on all hosts: systemctl restart shibafu-overlay" in said
    assert second.diagnose() == {"agent": trouble}
    assert trouble in second.read_log()
    assert second.list_entries() == entries
    second.stop()
    second.start()
    wait_until(lambda: second.read_subnet("FLANNEL_MTU") == "1350", "the MTU")
    wait_until(lambda: second.read_state()["state"] == "joined", "the state")
    second.command("status")


def test_a_change_that_was_missed(lab: OverlayLab) -> None:
    """It is made while the host does not hear of it, and taken back."""
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["hosts"] == 2, "all hosts")
    second.namespace.run("ip", "link", "set", "eth0", "down")
    lab.etcd.ctl("del", CONFIG)
    second.namespace.run("ip", "link", "set", "eth0", "up")
    wait_until(lambda: "has been removed from etcd" in second.read_state()["trouble"], "the trouble")
    lab.etcd.ctl("put", CONFIG, json.dumps(NETWORK | {"SubnetLen": 17}))
    wait_until(lambda: "and is invalid" in second.read_state()["trouble"], "the trouble")
    lab.etcd.ctl("put", CONFIG, json.dumps(NETWORK | {"SubnetLen": 24}))
    wait_until(lambda: second.read_state()["trouble"] == "", "the end")


def test_another_vni_leaves_no_device(lab: OverlayLab) -> None:
    """Of two devices with routes to the same hosts, the former one would swallow packets."""
    first, second = lab.hosts
    wait_until(lambda: second.read_state()["hosts"] == 2, "all hosts")
    second.command("init", second.name, "--network", "10.42.0.0/16", "--vni", "9", "--force")
    for host in (first, second):
        host.stop()
        host.start()
    wait_until(lambda: "dev flannel.9 " in second.namespace.run("ip", "route"), "routes")
    assert "flannel.1" not in second.namespace.run("ip", "link")
