"""Chains of plugins: what each plugin is called with, in which order, and what becomes of failures."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest

from shibafu.cni.errors import (
    DELEGATE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    CniError,
)
from shibafu.runtime.cache import CachedAttachment, cache_write
from shibafu.runtime.chain import Runtime
from shibafu.runtime.derivation import build_config
from support.runtime_lab import ARGUMENTS, KEY, RuntimeLab, network


@pytest.fixture
def lab(tmp_path: Path) -> RuntimeLab:
    return RuntimeLab(tmp_path)


class TestAdd:
    def test_calls_plugins_in_order_and_passes_results_on(self, lab: RuntimeLab) -> None:
        result = lab.runtime.add(network(), *ARGUMENTS)
        assert lab.calls() == ["ADD a", "ADD b", "ADD c"]
        assert result["ips"] == [{"address": "10.0.0.99/24"}]
        assert lab.config("a") == {"type": "a", "name": "net", "cniVersion": "1.1.0"}
        assert lab.config("b")["prevResult"]["ips"] == [{"address": "10.0.0.97/24"}]
        assert lab.config("c")["prevResult"]["ips"] == [{"address": "10.0.0.98/24"}]

    def test_sets_the_environment(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network(), *ARGUMENTS, args={"IgnoreUnknown": "1", "IP": "10.0.0.9"})
        assert lab.env("a") == {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "ctr",
            "CNI_NETNS": "/run/netns/ctr",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "IgnoreUnknown=1;IP=10.0.0.9",
            "CNI_PATH": f"{lab.directory}/none:{lab.directory}/bin",
        }

    def test_caches_the_last_result(self, lab: RuntimeLab) -> None:
        given = network()
        result = lab.runtime.add(given, *ARGUMENTS, args={"A": "1"}, capabilities={"mac": "x"})
        cached = lab.cached()
        assert cached is not None
        assert cached.result == result
        assert (cached.netns, cached.cni_args, cached.capability_args) == (
            "/run/netns/ctr",
            {"A": "1"},
            {"mac": "x"},
        )
        assert lab.runtime.find_attached_network(cached).plugins == given.plugins

    def test_undoes_what_a_failure_leaves(self, lab: RuntimeLab) -> None:
        lab.fail("b", "ADD")
        lab.fail("b", "DEL")
        with pytest.raises(CniError) as refusal:
            lab.runtime.add(network(), *ARGUMENTS)
        error = refusal.value
        assert (error.code, error.msg, error.details) == (
            11,
            'plugin type="b" failed (add): busy',
            "wait",
        )
        assert lab.calls() == ["ADD a", "ADD b", "DEL c", "DEL b", "DEL a"]
        assert lab.config("a", "DEL")["prevResult"]["ips"] == [{"address": "10.0.0.97/24"}]
        assert lab.cached() is None

    def test_undoes_what_cannot_be_cached(self, lab: RuntimeLab) -> None:
        (lab.directory / "results").write_text("a file in the way")
        with pytest.raises(OSError, match="results"):
            lab.runtime.add(network({"type": "a"}), *ARGUMENTS)
        assert lab.calls() == ["ADD a", "DEL a"]

    def test_wants_a_result(self, lab: RuntimeLab) -> None:
        (lab.directory / "log" / "a.ADD.answer").unlink()
        with pytest.raises(CniError, match="it printed no result") as refusal:
            lab.runtime.add(network(), *ARGUMENTS)
        assert refusal.value.code == DELEGATE

    @pytest.mark.parametrize(
        ("changes", "code", "message"),
        [
            ({"container_id": "-x"}, INVALID_ENVIRONMENT, "invalid characters in containerID"),
            ({"ifname": "a/b"}, INVALID_ENVIRONMENT, "interface name contains / or :"),
            ({"ifname": "x" * 16}, INVALID_ENVIRONMENT, "interface name is too long"),
            ({"network": network(name="a b")}, INVALID_CONFIG, "invalid characters found in network name"),
            ({"network": network(version="9.0.0")}, INCOMPATIBLE_VERSION, "incompatible CNI versions"),
            ({"network": network({"type": "a"}, {"type": "zz"})}, INVALID_CONFIG, 'find plugin "zz"'),
            ({"network": network({"type": "../bin/a"})}, INVALID_CONFIG, "invalid plugin name"),
        ],
    )
    def test_refuses_before_any_call(
        self, lab: RuntimeLab, changes: dict[str, Any], code: int, message: str
    ) -> None:
        arguments: dict[str, Any] = {
            "network": network(),
            "container_id": "ctr",
            "netns": "/run/netns/ctr",
            "ifname": "eth0",
        } | changes
        with pytest.raises(CniError, match=message) as refusal:
            lab.runtime.add(**arguments)
        assert refusal.value.code == code
        assert lab.calls() == []

    @pytest.mark.parametrize("text", ["1;MAC=2", "1=2", "1\n", "1\nMAC=2", "1\x1b[2J", "\x7f", "1\u2028"])
    @pytest.mark.parametrize("is_key", [True, False])
    def test_a_pair_of_cni_args_is_nothing_more(self, lab: RuntimeLab, text: str, is_key: bool) -> None:
        args = {text: "1"} if is_key else {"IP": text}
        with pytest.raises(CniError, match="invalid pair") as refusal:
            lab.runtime.add(network(), *ARGUMENTS, args=args)
        assert refusal.value.code == INVALID_ENVIRONMENT
        assert refusal.value.msg.isprintable()
        assert lab.calls() == []
        assert lab.cached() is None

    def test_refuses_to_attach_twice_and_leaves_the_first(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network(), *ARGUMENTS)
        lab.calls()
        with pytest.raises(CniError, match="attached to network"):
            lab.runtime.add(network(), *ARGUMENTS)
        assert lab.calls() == []
        assert lab.cached() is not None
        lab.runtime.add(network(), "ctr", "/run/netns/ctr", "eth1")

    def test_converts_a_result_to_the_network_s_version(self, lab: RuntimeLab) -> None:
        ip = {"version": "4", "address": "10.0.0.1/24"}
        lab.answer("a", {"cniVersion": "0.4.0", "ips": [ip], "dns": {}})
        result = lab.runtime.add(network({"type": "a"}), *ARGUMENTS)
        assert result == {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/24"}]}

    def test_keeps_what_it_does_not_know_of_a_result(self, lab: RuntimeLab) -> None:
        lab.answer("a", {"CNIVersion": "1.0.0", "ips": [], "vendor": {"x": 1}})
        result = lab.runtime.add(network({"type": "a"}), *ARGUMENTS)
        assert result == {"cniVersion": "1.1.0", "ips": [], "vendor": {"x": 1}}


class TestConfig:
    def test_what_the_runtime_says_goes_before_what_is_written(self) -> None:
        plugin = {"type": "a", "name": "own", "CNIVersion": "0.1.0", "mtu": 9000, "ipam": {"type": "x"}}
        assert build_config(network(plugin), plugin) == {
            "type": "a",
            "name": "net",
            "cniVersion": "1.1.0",
            "mtu": 9000,
            "ipam": {"type": "x"},
        }

    @pytest.mark.parametrize(
        ("declared", "given", "expected"),
        [
            ({"mac": True, "ips": True}, {"mac": "m", "bandwidth": {}}, {"mac": "m"}),
            ({"mac": False}, {"mac": "m"}, None),
            ({}, {"mac": "m"}, None),
            ({"mac": True}, {}, None),
        ],
    )
    def test_capabilities_are_those_of_both_sides(
        self, declared: dict[str, bool], given: dict[str, object], expected: object
    ) -> None:
        plugin = {"type": "a", "capabilities": declared}
        config = build_config(network(plugin), plugin, capabilities=given)
        assert config.get("runtimeConfig") == expected
        assert "capabilities" not in config

    def test_no_version_is_the_first_one(self) -> None:
        assert build_config(network(version=""), {"type": "a"})["cniVersion"] == "0.1.0"


class TestDelete:
    def test_calls_plugins_in_reverse_with_the_last_result(self, lab: RuntimeLab) -> None:
        plugin = {"type": "c", "capabilities": {"mac": True}}
        given = network({"type": "a"}, plugin)
        result = lab.runtime.add(given, *ARGUMENTS, args={"A": "1"}, capabilities={"mac": "m"})
        lab.calls()
        lab.runtime.delete(given, "ctr", "", "eth0")
        assert lab.calls() == ["DEL c", "DEL a"]
        assert lab.config("a", "DEL")["prevResult"] == result
        assert lab.config("c", "DEL")["runtimeConfig"] == {"mac": "m"}
        assert (lab.env("c", "DEL")["CNI_ARGS"], lab.env("c", "DEL")["CNI_NETNS"]) == ("A=1", "")
        assert lab.cached() is None

    def test_what_the_caller_says_goes_before_the_cache(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network(), *ARGUMENTS, args={"A": "1"})
        lab.runtime.delete(network(), *ARGUMENTS, args={"B": "2"})
        assert lab.env("a", "DEL")["CNI_ARGS"] == "B=2"

    def test_of_what_is_not_attached_calls_them_too(self, lab: RuntimeLab) -> None:
        lab.runtime.delete(network(), *ARGUMENTS)
        assert lab.calls() == ["DEL c", "DEL b", "DEL a"]
        assert "prevResult" not in lab.config("a", "DEL")

    def test_stops_at_a_failure_and_keeps_the_cache(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network(), *ARGUMENTS)
        lab.calls()
        lab.fail("b", "DEL")
        with pytest.raises(CniError, match=r'plugin type="b" failed \(delete\): busy'):
            lab.runtime.delete(network(), *ARGUMENTS)
        assert lab.calls() == ["DEL c", "DEL b"]
        assert lab.cached() is not None

    @pytest.mark.parametrize("content", [b"", b'{"kind": "cniCacheV1", "resu'])
    def test_does_without_a_corrupt_cache(self, lab: RuntimeLab, content: bytes) -> None:
        lab.runtime.add(network(), *ARGUMENTS)
        path = Path(lab.cache_dir) / "net-ctr-eth0"
        path.write_bytes(content)
        lab.runtime.delete(network(), *ARGUMENTS)
        assert "prevResult" not in lab.config("a", "DEL")
        assert not path.exists()

    def test_does_without_a_result_that_cannot_be_converted(self, lab: RuntimeLab) -> None:
        cache_write(CachedAttachment(*KEY, result={"cniVersion": "0.2.0", "ip4": {"ip": "x"}}), lab.cache_dir)
        lab.runtime.delete(network(), *ARGUMENTS)
        assert "prevResult" not in lab.config("a", "DEL")

    @pytest.mark.parametrize(("version", "expected"), [("0.3.1", False), ("0.4.0", True)])
    def test_old_versions_know_no_previous_result(
        self, lab: RuntimeLab, version: str, expected: bool
    ) -> None:
        lab.answer("a", {"cniVersion": version, "ips": [], "dns": {}})
        given = network({"type": "a"}, version=version)
        lab.runtime.add(given, *ARGUMENTS)
        lab.runtime.delete(given, *ARGUMENTS)
        assert ("prevResult" in lab.config("a", "DEL")) is expected


class TestLocks:
    def is_blocked(self, action: Callable[[], object]) -> bool:
        thread = Thread(target=action, daemon=True)
        thread.start()
        thread.join(0.3)
        return thread.is_alive()

    def other(self, lab: RuntimeLab) -> Runtime:
        runtime = lab.runtime
        return Runtime(runtime.plugin_path, runtime.cache_dir, env=runtime.env, lock_dir=runtime.lock_dir)

    def test_one_container_has_one_operation_at_a_time(self, lab: RuntimeLab) -> None:
        other = self.other(lab)
        given = network({"type": "a"})
        with lab.runtime.lock_container("ctr"):
            lab.runtime.add(given, *ARGUMENTS)
            assert not self.is_blocked(lambda: other.add(given, "another", "/run/netns/x", "eth0"))
            assert self.is_blocked(lambda: other.delete(given, *ARGUMENTS))
        self.wait_until(lambda: lab.cached() is None)

    def test_a_container_s_lock_is_nowhere_else(self, lab: RuntimeLab) -> None:
        with pytest.raises(CniError, match="invalid characters in containerID"):
            lab.runtime.lock_container("../../etc/passwd")

    def test_gc_waits_for_operations_on_the_network(self, lab: RuntimeLab) -> None:
        given = network({"type": "a"})
        with lab.runtime._lock_network("net", shared=True):
            assert self.is_blocked(lambda: self.other(lab).gc(given, []))
            assert not self.is_blocked(lambda: self.other(lab).add(given, *ARGUMENTS))
        self.wait_until(lambda: lab.cached() is None)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline
            sleep(0.01)


def test_a_container_whose_result_no_file_can_hold(lab: RuntimeLab) -> None:
    given = network({"type": "a"})
    longest, longer = "c" * (255 - len(".net--eth0")), "c" * (256 - len(".net--eth0"))
    lab.runtime.add(given, longest, "/run/netns/ctr", "eth0")
    lab.runtime.delete(given, longest, "", "eth0")
    lab.calls()
    with pytest.raises(CniError, match="container ID is too long by 1 characters") as caught:
        lab.runtime.add(given, longer, "/run/netns/ctr", "eth0")
    assert caught.value.code == INVALID_ENVIRONMENT
    assert lab.calls() == []
    lab.runtime.delete(given, longer, "", "eth0")
    assert lab.calls() == ["DEL a"]
    with pytest.raises(CniError, match="is not attached"):
        lab.runtime.check(given, longer, "/run/netns/ctr", "eth0")


def test_a_network_whose_name_no_file_can_have(lab: RuntimeLab) -> None:
    given = network({"type": "a"})
    given.name = "n" * 300
    with pytest.raises(CniError, match="network name is too long") as caught:
        lab.runtime.add(given, *ARGUMENTS)
    assert caught.value.code == INVALID_CONFIG
    assert lab.calls() == []
    lab.runtime.delete(given, *ARGUMENTS)
    lab.runtime.gc(given, [])
    assert lab.calls() == ["DEL a", "GC a"]
