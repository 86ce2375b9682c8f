"""What networks' configurations state of policies, as the command reads it and as plugins are given it."""

from json import dumps
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.config import Section
from shibafu.networks.policy_networks import read_network_policies
from shibafu.networks.stating_plugins import states_policies
from shibafu.overlay.delegation import OverlayConfig
from shibafu.policy.stated_policies import calc_stated_policies
from support.calls import make_request

POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db"},
    "spec": {"podSelector": {}},
}


def write(directory: Path, *plugins: dict[str, Any]) -> Path:
    path = directory / "net.conflist"
    path.write_text(dumps({"cniVersion": "1.0.0", "name": "net", "plugins": plugins}, indent="\t"))
    return path


def read_places(directory: Path) -> list[str]:
    mistakes: list[str] = []
    found = read_network_policies(str(directory), mistakes)
    assert not mistakes
    return [source.declared.place for one in found for source in one.sources]


def find_line(path: Path, text: str) -> int:
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_the_delegate_of_an_overlay_is_given_what_was_read(tmp_path: Path) -> None:
    plugin = {"type": "shibafu-overlay", "delegate": {"policies": [POLICY]}}
    path = write(tmp_path, {"type": "loopback"}, plugin)
    (found,) = read_network_policies(str(tmp_path), [])
    given = OverlayConfig(make_request(plugin)).render(None)
    assert found.digest == calc_stated_policies(Section(given, "NetConf"))
    assert read_places(tmp_path) == [f"{path}:{find_line(path, 'policies') + 1}"]


@pytest.mark.parametrize(
    ("plugin", "stated"),
    [
        ({"type": "shibafu-overlay", "policies": [POLICY]}, "shibafu-overlay"),
        ({"type": "shibafu-overlay", "delegate": {"type": "ipvlan", "policyDir": "/p"}}, "ipvlan"),
        ({"type": "macvlan", "policies": [POLICY]}, "macvlan"),
    ],
)
def test_what_would_be_passed_over_is_a_mistake(tmp_path: Path, plugin: dict[str, Any], stated: str) -> None:
    path = write(tmp_path, plugin)
    mistakes: list[str] = []
    assert read_network_policies(str(tmp_path), mistakes) == []
    (said,) = mistakes
    assert said.startswith(f"{path}: plugin {stated} does not know")


def test_a_plugin_in_a_file_of_its_own(tmp_path: Path) -> None:
    """And in one that is a network of a single plugin, in any spelling."""
    (tmp_path / "net.conflist").write_text('{"cniVersion": "1.1.0", "name": "net"}')
    own = tmp_path / "net" / "10-bridge.conf"
    own.parent.mkdir()
    own.write_text(dumps({"type": "bridge", "policies": [POLICY]}, indent=1))
    single = tmp_path / "single.conf"
    other = POLICY | {"metadata": {"name": "web"}}
    single.write_text(dumps({"name": "single", "type": "bridge", "Policies": [other]}))
    assert read_places(tmp_path) == [f"{own}:{find_line(own, 'policies') + 1}", f"{single}:1"]


def test_most_networks_state_none(tmp_path: Path) -> None:
    write(tmp_path, {"type": "bridge", "policies": None})
    assert not states_policies(str(tmp_path))
    assert read_places(tmp_path) == []
    write(tmp_path, {"type": "bridge", "policyDir": "/p"})
    assert states_policies(str(tmp_path))
