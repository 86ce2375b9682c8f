"""What the hook asks of each network of a container, and the addresses that it saves."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shibafu.cni.errors import CniError
from shibafu.hook.settings import Settings
from shibafu.hook.steps import Step, calc_steps
from shibafu.hook.sticky_addresses import read_addresses, write_addresses
from shibafu.runtime.conflist import NetworkList, append_plugin, parse_conflist
from support.hook_annotations import settings


def plan(
    asked: Settings, *capabilities: tuple[str, ...], former_ips: Mapping[str, list[str]] | None = None
) -> list[Step]:
    """Plan networks whose only plugin has these capabilities, where no others are installed."""
    networks = []
    for name, declared in zip(asked.networks, capabilities, strict=True):
        plugin = {"type": "x", "capabilities": dict.fromkeys(declared, True)}
        networks.append(parse_conflist(json.dumps({"name": name, "plugins": [plugin]}).encode(), "test"))
    return calc_steps(networks, asked, former_ips or {}, lambda network, capability: None)


class TestPlan:
    def test_links_are_numbered(self) -> None:
        assert [step.ifname for step in plan(settings(network="a,b"), (), ())] == ["eth0", "eth1"]

    def test_capabilities_are_used_where_they_are_declared(self) -> None:
        asked = settings(
            network="a,b",
            ip="10.0.0.1,fd00::1",
            mac="02:00:00:00:00:01",
            ip__b="10.1.0.1",
            mac__b="02:00:00:00:00:02",
        )
        first, second = plan(asked, ("ips", "mac"), ())
        assert (first.capabilities, first.args) == (
            {"ips": ["10.0.0.1", "fd00::1"], "mac": "02:00:00:00:00:01"},
            {},
        )
        assert second.capabilities == {}
        assert second.args == {"IgnoreUnknown": "1", "IP": "10.1.0.1", "MAC": "02:00:00:00:00:02"}

    def test_what_policies_find_it_by_is_said_to_all_networks(self) -> None:
        steps = plan(settings(network="a,b", labels__app="web", mac__b="02:00:00:00:00:02"), (), ())
        assert [step.args["SHIBAFU_LABELS"] for step in steps] == ["app:web", "app:web"]
        assert [step.args["IgnoreUnknown"] for step in steps] == ["1", "1"]
        assert steps[1].args["MAC"] == "02:00:00:00:00:02"

    def test_several_addresses_need_the_capability(self) -> None:
        with pytest.raises(CniError, match='network "a" accepts only one requested address'):
            plan(settings(network="a", ip="10.0.0.1,fd00::1"), ())

    def test_ports_go_to_the_first_network_that_takes_them(self) -> None:
        asked = settings(network="a,b,c", ports="80:80")
        steps = plan(asked, (), ("portMappings",), ("portMappings",))
        assert [step.capabilities for step in steps] == [{}, {"portMappings": asked.ports}, {}]

    def test_limits_go_to_all_networks_that_take_them(self) -> None:
        asked = settings(network="a,b,c", bandwidth="egress=1M")
        steps = plan(asked, ("bandwidth",), (), ("bandwidth",))
        assert [bool(step.capabilities) for step in steps] == [True, False, True]

    @pytest.mark.parametrize("asked", [{"ports": "80:80"}, {"bandwidth": "egress=1M"}])
    def test_what_nobody_takes_is_refused(self, asked: dict[str, str]) -> None:
        with pytest.raises(CniError, match=r"no plugin of the container's networks \(a\) takes"):
            plan(settings(network="a", **asked), ("ips",))


class TestFormerAddresses:
    FORMER: Mapping[str, list[str]] = {"a": ["10.0.0.7", "fd00::7"], "b": ["10.1.0.7"], "c": ["10.2.0.7"]}

    def test_they_are_asked_for_again(self) -> None:
        first, second = plan(settings(network="a,b"), ("ips",), (), former_ips=self.FORMER)
        assert first.capabilities == {"ips": ["10.0.0.7", "fd00::7"]}
        assert second.args == {"IgnoreUnknown": "1", "IP": "10.1.0.7"}
        assert first.is_preference
        assert second.is_preference

    def test_they_can_be_given_up(self) -> None:
        first, second = plan(
            settings(network="a,b", mac__b="02:00:00:00:00:01"), ("ips",), (), former_ips=self.FORMER
        )
        first.drop_ips()
        second.drop_ips()
        assert first.capabilities == {}
        assert second.args == {"IgnoreUnknown": "1", "MAC": "02:00:00:00:00:01"}

    def test_stated_ones_go_before(self) -> None:
        (step,) = plan(settings(network="a", ip="10.0.0.8"), ("ips",), former_ips=self.FORMER)
        assert step.capabilities == {"ips": ["10.0.0.8"]}
        assert not step.is_preference

    def test_several_where_one_can_be_asked_for_are_let_be(self) -> None:
        (step,) = plan(settings(network="a"), (), former_ips=self.FORMER)
        assert step.args == {}
        assert not step.is_preference


class TestAppendedPlugins:
    @staticmethod
    def append(network: NetworkList, capability: str) -> NetworkList:
        plugin: dict[str, object] = {"type": "portmap", "capabilities": {capability: True}}
        return append_plugin(network, plugin, ["0.4.0", "1.0.0"])

    def plan(self, document: dict[str, object], **asked: str) -> list[Step]:
        network = parse_conflist(json.dumps(document).encode(), "test")
        return calc_steps([network], settings(network="a", **asked), {}, self.append)

    def test_the_chain_gets_a_plugin_and_a_version_that_it_knows(self) -> None:
        plugins = [{"type": "x", "capabilities": {"ips": True}}]
        versions = {"cniVersion": "0.4.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"]}
        (step,) = self.plan({"name": "a", "plugins": plugins, **versions}, ports="80:80")
        assert [plugin["type"] for plugin in step.network.plugins] == ["x", "portmap"]
        assert step.network.cni_version == "1.0.0"
        assert step.capabilities["portMappings"]
        # What is cached is the chain that was called.
        assert parse_conflist(step.network.raw, "cache").plugins == step.network.plugins

    def test_without_a_common_version_it_is_refused(self) -> None:
        with pytest.raises(CniError, match=r'"portmap" supports none of the versions 1\.1\.0') as caught:
            self.plan({"name": "a", "cniVersion": "1.1.0", "plugins": [{"type": "x"}]}, ports="80:80")
        assert 'add one of 0.4.0, 1.0.0 to "cniVersions"' in str(caught.value)

    def test_a_chain_that_has_one_stays_as_it_is(self) -> None:
        plugins = [{"type": "x", "capabilities": {"portMappings": True}}]
        (step,) = self.plan({"name": "a", "plugins": plugins}, ports="80:80")
        assert step.network.plugins == plugins

    @pytest.mark.parametrize("bridge", ["shibafu-bridge", "bridge"])
    @pytest.mark.parametrize("last", [[], [{"type": "portmap", "capabilities": {"portMappings": True}}]])
    def test_our_bridge_plugin_is_told_of_ports(self, bridge: str, last: list[dict[str, object]]) -> None:
        plugins = [{"type": bridge, "Capabilities": {"ips": True}}, *last]
        document: dict[str, object] = {"name": "a", "cniVersion": "1.0.0", "plugins": plugins}
        (step,) = self.plan(document, ports="80:80")
        first, second = step.network.plugins
        assert first == {"type": bridge, "capabilities": {"ips": True, "portMappings": True}}
        assert second == {"type": "portmap", "capabilities": {"portMappings": True}}
        (step,) = self.plan(document)
        assert step.network.plugins == plugins


class TestStickyAddresses:
    RESULT: Mapping[str, object] = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.7/24"}]}

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        write_addresses(f"{tmp_path}/new", "web1", {"a": dict(self.RESULT), "b": {"cniVersion": "1.0.0"}})
        assert read_addresses(f"{tmp_path}/new", "web1") == {"a": ["10.0.0.7"], "b": []}
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["web1"]

    @pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"a": 1}', '{"a": [1]}'])
    def test_nonsense_is_nothing(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "web1").write_text(content)
        assert read_addresses(str(tmp_path), "web1") == {}
        assert read_addresses(str(tmp_path), "web2") == {}

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text('{"a": ["10.0.0.7"]}')
        (tmp_path / "web1").symlink_to("target")
        assert read_addresses(str(tmp_path), "web1") == {}


def test_a_memory_that_others_can_write_to_is_closed(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    write_addresses(str(directory), "web1", {})
    directory.chmod(0o777)
    assert read_addresses(str(directory), "web1") == {}
    assert directory.stat().st_mode & 0o777 == 0o755  # ours: mended


def test_a_memory_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c1")
    (tmp_path / "c2").mkdir()
    for container in ("c1", "c2", "c" * 300):
        assert read_addresses(str(tmp_path), container) == {}
    os.mkfifo(tmp_path / ".c3")
    with pytest.raises(CniError, match="cannot remember addresses"):
        write_addresses(str(tmp_path), "c3", {})
