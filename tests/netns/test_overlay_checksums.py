"""The key `txChecksum`: who computes the checksums of what containers send."""

import json
from pathlib import Path

import pytest
from pyroute2 import Ethtool

from netns.overlay_lab import DUAL_STACK, OverlayHost, OverlayLab, wait_until

pytestmark = pytest.mark.long
DEVICES = ("flannel.1", "flannel-v6.1")


def read_offload(host: OverlayHost, device: str) -> bool:
    """Return whether a device leaves checksums to others, as ethtool(8) would show it."""
    with host.namespace.enter(), Ethtool() as ethtool:
        return bool(ethtool.get_features(device).features["tx-checksum-ip-generic"].enable)


def test_devices_compute_checksums_if_they_are_told_to(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2, DUAL_STACK) as lab:
        first, second = lab.hosts
        second.configure(txChecksum=False)
        lab.start()
        for device in DEVICES:
            wait_until(lambda: not read_offload(second, device), device)  # noqa: B023
            assert read_offload(first, device)
        container, _ = first.attach(), second.attach()
        container.run("ping", "-c1", "-w5", second.calc_container())
        # It is kept so, and seen where the agent does not.
        with second.namespace.enter(), Ethtool() as ethtool:
            features = ethtool.get_features("flannel.1")
            features.features["tx-checksum-ip-generic"].enable = True
            ethtool.set_features("flannel.1", features)
        wait_until(lambda: not read_offload(second, "flannel.1"), "the device")
        second.stop()
        second.configure(txChecksum=True)
        seen = json.loads(second.command("inspect", second.name, "--format", "json"))
        assert "device flannel.1: it computes checksums itself" in seen["faults"]
        second.start()
        wait_until(lambda: all(read_offload(second, device) for device in DEVICES), "the devices")


def test_devices_are_left_alone_without_the_key(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2) as lab:
        lab.start()
        second = lab.hosts[1]
        with second.namespace.enter(), Ethtool() as ethtool:
            features = ethtool.get_features("flannel.1")
            features.features["tx-checksum-ip-generic"].enable = False
            ethtool.set_features("flannel.1", features)
        second.namespace.run("ip", "link", "set", "flannel.1", "down")
        wait_until(lambda: "UP" in second.namespace.run("ip", "link", "show", "flannel.1"), "the device")
        assert not read_offload(second, "flannel.1")
