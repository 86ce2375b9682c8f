"""`shibafu overlay`, without an agent at work."""

import json
from pathlib import Path

import pytest

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
        other = f"overlay init red --network 10.43.0.0/16 --endpoints {etcd.url} --prefix /red {config}"
        assert "add to" in shibafu(other)
        assert shibafu.json(f"overlay ls {config}") == [{"network": "blue", "hosts": []}]
        key, value = calc_host(1)
        etcd.ctl("put", key, value)
        (listed,) = shibafu.json(f"overlay ls {config}")
        assert [(one["subnet"], one["reserved"]) for one in listed["hosts"]] == [("10.40.1.0/24", True)]
        assert "192.168.100.1" in shibafu(f"overlay ls {config}")
        # Once hosts have joined, another description would cut them off.
        changed = init.replace("--vni 7", "--vni 8")
        assert "hosts have joined it" in shibafu.fail(changed)
        assert shibafu.json(f"{changed} --force")["written"]
        assert shibafu.json(f"overlay rm 10.40.1.0/24 {config}")[0]["subnets"] == ["10.40.1.0/24"]
        assert "no network has the host 192.168.100.1" in shibafu.fail(f"overlay rm 192.168.100.1 {config}")
    assert "cannot be reached: connection refused" in shibafu.fail(f"overlay ls {config}")
    assert shibafu.json(f"overlay status {config}", status=3) == {"running": False, "networks": []}
