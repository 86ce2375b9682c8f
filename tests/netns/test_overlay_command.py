"""`shibafu overlay`, without an agent at work."""

import json
from pathlib import Path

import pytest
import yaml

from netns.overlay_lab import calc_host
from support.command import CommandLine
from support.etcd import EtcdServer
from support.namespaces import Namespace


@pytest.mark.long
def test_a_network_is_described_once(shibafu: CommandLine, host: Namespace, tmp_path: Path) -> None:
    config = f"--config {tmp_path}/etc/overlay.yaml"
    with EtcdServer(host) as etcd:
        init = f"overlay init blue --network 10.40.0.0/14 --network6 fd42::/48 --vni 7 {config}"
        assert "say where etcd is" in shibafu.fail(init, status=2)
        done = shibafu.json(f"{init} --endpoints {etcd.url}")
        assert done == {"network": "blue", "written": True, "configured": True}
        assert json.loads(etcd.ctl("get", "--print-value-only", "/coreos.com/network/config")) == {
            "Network": "10.40.0.0/14",
            "SubnetLen": 24,
            "EnableIPv6": True,
            "IPv6Network": "fd42::/48",
            "IPv6SubnetLen": 64,
            "Backend": {"Type": "vxlan", "VNI": 7},
        }
        # Where etcd is, the agent's configuration says from now on.
        assert not shibafu.json(init)["written"]
        assert not shibafu.json(f"{init} --endpoints {etcd.url}/")["written"]
        for option, stated, known in (
            ("--endpoints", "http://x:1", etcd.url),
            ("--prefix", "/red", "/coreos.com/network"),
            ("--cafile", "/ca.pem", "nothing"),
        ):
            said = shibafu.fail(f"{init} {option} {stated}", status=2)
            assert f"overlay.yaml has {known} for {option} of network blue" in said
        other = f"overlay init red --network 10.44.0.0/16 --endpoints {etcd.url} --prefix /red {config}"
        assert "add to" in shibafu(other)
        assert shibafu.json(f"overlay ls {config}") == [{"network": "blue", "hosts": []}]
        key, value = calc_host(1)
        etcd.ctl("put", key, value)
        (listed,) = shibafu.json(f"overlay ls {config}")
        assert [(one["subnet"], one["reserved"]) for one in listed["hosts"]] == [("10.40.1.0/24", True)]
        assert "192.168.100.1" in shibafu(f"overlay ls {config}")
        # Once hosts have joined, another description would cut them off.
        changed = init.replace("--vni 7", "--vni 8")
        said = shibafu.fail(changed)
        assert "hosts have joined it" in said
        assert '"VNI": 7' in said
        assert '"VNI": 8' in said
        assert "restart the agent on every host" in shibafu(f"{changed} --force")
        assert not shibafu.json(changed)["written"]
        assert shibafu.json(f"overlay rm 10.40.1.0/24 {config}")[0]["subnets"] == ["10.40.1.0/24"]
        assert "no network has the host 192.168.100.1" in shibafu.fail(f"overlay rm 192.168.100.1 {config}")
    assert "cannot be reached: connection refused" in shibafu.fail(f"overlay ls {config}")
    assert shibafu.json(f"overlay status {config}", status=3) == {"running": False, "networks": []}
    said, _ = shibafu.run("overlay", "status", *config.split(), status=3)
    assert "not running\n  start the agent: systemctl enable --now shibafu-overlay" in said


@pytest.mark.long
def test_a_network_that_cuts_the_host_off_is_refused(
    shibafu: CommandLine, host: Namespace, tmp_path: Path
) -> None:
    config = f"--config {tmp_path}/overlay.yaml"
    host.run("ip", "link", "add", "uplink", "up", "type", "bridge")
    host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink")
    with EtcdServer(host) as etcd:
        init = f"overlay init {config} --endpoints {etcd.url}"
        said = shibafu.fail(f"{init} blue --network 192.0.2.0/23")
        assert "192.0.2.0/23 contains 192.0.2.1, an address of this host's uplink" in said
        assert "127.0.0.1, where etcd is" in shibafu.fail(
            f"overlay init {config} --endpoints http://127.0.0.1:1 blue --network 127.0.0.0/16"
        )
        assert etcd.ctl("get", "--prefix", "/") == ""
        assert "start the agent: systemctl enable --now" in shibafu(f"{init} blue --network 10.42.0.0/16")
        other = f"{init} red --prefix /red"
        assert "network blue of this host has VNI 1" in shibafu.fail(f"{other} --network 10.44.0.0/16")
        said = shibafu.fail(f"{other} --vni 2 --network 10.40.0.0/14")
        assert "10.40.0.0/14 overlaps 10.42.0.0/16 of network blue" in said
        assert shibafu.json(f"{other} --vni 2 --network 10.44.0.0/16")["written"]
        # A host that has joined has addresses of its part, of the bridge and of the device.
        lease = {
            "PublicIP": "192.0.2.1",
            "BackendType": "vxlan",
            "BackendData": {"VNI": 1, "VtepMAC": "de:11:0a:27:15:d9"},
        }
        etcd.ctl("put", "/coreos.com/network/subnets/10.42.7.0-24", json.dumps(lease))
        host.run("ip", "address", "add", "10.42.7.1/24", "dev", "uplink")
        assert not shibafu.json(f"{init} blue --network 10.42.0.0/16")["written"]
        # So has one that is behind a router which has its address.
        (network,) = yaml.safe_load((tmp_path / "overlay.yaml").read_text())["networks"]
        network["publicIP"] = "203.0.113.9"
        (tmp_path / "overlay.yaml").write_text(json.dumps({"networks": [network]}))
        translated = json.dumps(lease | {"PublicIP": "203.0.113.9"})
        etcd.ctl("put", "/coreos.com/network/subnets/10.42.7.0-24", translated)
        assert not shibafu.json(f"{init} blue --network 10.42.0.0/16")["written"]
