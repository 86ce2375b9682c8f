"""The overlay's agent as a service of systemd, one of the test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dist.target import Target
from support.etcd import EtcdServer
from support.namespaces import Namespace
from support.systemd import Systemd, find_cgroup
from support.waiting import wait_for

CGROUP = find_cgroup()
pytestmark = [
    pytest.mark.root,
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("systemctl") or CGROUP is None, reason="needs systemd and cgroup v2"),
]


@pytest.fixture
def target(tmp_path: Path, built: Path) -> Iterator[Target]:
    made = Target(tmp_path / "root", built)
    made.install()
    yield made
    made.uninstall()


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("host") as namespace:
        namespace.run("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "name", "far")
        namespace.run("ip", "link", "set", "far", "up")
        namespace.run("ip", "address", "add", "192.168.77.5/24", "dev", "eth0")
        yield namespace


@pytest.fixture
def systemd(target: Target, host: Namespace, tmp_path: Path) -> Iterator[Systemd]:
    assert CGROUP is not None
    config = tmp_path / "overlay.yaml"
    config.write_text(
        "networks: [{name: service-test, endpoints: [http://127.0.0.1:2379], iface: eth0,"
        f" subnetFile: {tmp_path}/subnet.env}}]"
    )
    target.unit = target.unit.with_name("shibafu-overlay.service")
    target.install_unit()
    unit = target.unit.read_text().replace("ConditionPathExists=/etc/shibafu/overlay.yaml\n", "")
    # This test's host, and its network.
    unit = unit.replace("ExecStart=", f"ExecStart=/usr/bin/nsenter --net={host.path} ")
    # nsenter(1) needs it.
    unit = unit.replace("CAP_NET_ADMIN", "CAP_NET_ADMIN CAP_SYS_ADMIN")
    target.unit.write_text(
        unit.replace("[Service]", f"[Service]\nEnvironment=SHIBAFU_OVERLAY_CONFIG={config}")
    )
    with Systemd(CGROUP, target.unit) as made:
        yield made


def test_a_service_joins_is_killed_and_goes_on(host: Namespace, systemd: Systemd, tmp_path: Path) -> None:
    """With the few capabilities that it has."""
    with EtcdServer(host) as etcd:
        network = '{"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan"}}'
        etcd.ctl("put", "/coreos.com/network/config", network)
        systemd.control("start")
        assert systemd.show("ActiveState") == "active"
        wait_for(lambda: "flannel.1" in host.run("ip", "link"))
        systemd.run("kill", "-KILL", systemd.show("MainPID"))
        wait_for(lambda: systemd.show("NRestarts") == "1" and systemd.show("ActiveState") == "active")
        host.run("ip", "link", "del", "flannel.1")
        wait_for(lambda: "flannel.1" in host.run("ip", "link"))
        systemd.control("stop")
        assert (systemd.show("ActiveState"), systemd.show("Result")) == ("inactive", "success")
        assert "flannel.1" in host.run("ip", "link")
    for path in Path("/run/shibafu/overlay").glob("service-test*"):
        path.unlink()
