"""CHECK, GC and STATUS of chains: whom they ask, and what becomes of failures."""

from pathlib import Path

import pytest

from shibafu.cni.errors import (
    CHECK_FAILED,
    CniError,
)
from shibafu.runtime.cache import CachedAttachment, cache_list, cache_write
from shibafu.runtime.conflist import NetworkList
from support.runtime_lab import ARGUMENTS, RuntimeLab, network


@pytest.fixture
def lab(tmp_path: Path) -> RuntimeLab:
    return RuntimeLab(tmp_path)


class TestCheck:
    def test_gives_all_plugins_the_last_result(self, lab: RuntimeLab) -> None:
        result = lab.runtime.add(network(), *ARGUMENTS, args={"A": "1"})
        lab.calls()
        assert lab.runtime.check(network(), *ARGUMENTS) == ""
        assert lab.calls() == ["CHECK a", "CHECK b", "CHECK c"]
        assert lab.config("a", "CHECK")["prevResult"] == result
        assert lab.env("a", "CHECK")["CNI_ARGS"] == "A=1"

    def test_stops_at_the_first_difference(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network(), *ARGUMENTS)
        lab.fail("b", "CHECK")
        lab.calls()
        with pytest.raises(CniError, match=r"failed \(check\)"):
            lab.runtime.check(network(), *ARGUMENTS)
        assert lab.calls() == ["CHECK a", "CHECK b"]

    def test_needs_an_attachment(self, lab: RuntimeLab) -> None:
        with pytest.raises(CniError, match="is not attached") as refusal:
            lab.runtime.check(network(), *ARGUMENTS)
        assert refusal.value.code == CHECK_FAILED

    def test_can_be_disabled(self, lab: RuntimeLab) -> None:
        assert lab.runtime.check(network(disableCheck=True), *ARGUMENTS) == "disableCheck is set"
        assert lab.calls() == []

    def test_old_versions_have_none(self, lab: RuntimeLab) -> None:
        assert lab.runtime.check(network(version="0.3.1"), *ARGUMENTS) == "version 0.3.1 has no CHECK"
        assert lab.calls() == []

    def test_what_is_invalid_is_refused_by_old_versions_too(self, lab: RuntimeLab) -> None:
        with pytest.raises(CniError, match="invalid characters"):
            lab.runtime.check(network(version="0.3.1"), "../c", "/run/netns/c", "eth0")


class TestGc:
    def add_all(self, lab: RuntimeLab, given: NetworkList) -> None:
        for name in ("c1", "c2", "c3"):
            lab.runtime.add(given, name, f"/run/netns/{name}", "eth0")
        lab.calls()

    def test_deletes_what_is_not_listed_and_tells_the_plugins(self, lab: RuntimeLab) -> None:
        given = network({"type": "a"}, {"type": "b"})
        self.add_all(lab, given)
        cache_write(CachedAttachment("other", "c1", "eth0"), lab.cache_dir)
        lab.runtime.gc(given, [("c2", "eth0")])
        assert lab.calls() == ["DEL b", "DEL a", "DEL b", "DEL a", "GC a", "GC b"]
        assert lab.env("a", "DEL")["CNI_NETNS"] == "/run/netns/c3"
        assert lab.config("b", "GC")["cni.dev/valid-attachments"] == [{"containerID": "c2", "ifname": "eth0"}]
        assert "CNI_IFNAME" not in lab.env("a", "GC")
        left = {attachment.key for attachment in cache_list(directory=lab.cache_dir)}
        assert left == {("net", "c2", "eth0"), ("other", "c1", "eth0")}

    def test_says_when_nothing_is_valid(self, lab: RuntimeLab) -> None:
        lab.runtime.gc(network({"type": "a"}), [])
        assert lab.config("a", "GC")["cni.dev/valid-attachments"] == []

    def test_goes_on_past_failures(self, lab: RuntimeLab) -> None:
        given = network({"type": "a"}, {"type": "b"})
        self.add_all(lab, given)
        lab.fail("b", "DEL")
        lab.fail("a", "GC")
        with pytest.raises(CniError) as refusal:
            lab.runtime.gc(given, [])
        assert lab.calls() == ["DEL b"] * 3 + ["GC a", "GC b"]
        assert refusal.value.msg.count("failed (delete)") == 1  # which all three have in common
        assert refusal.value.msg.count("failed (gc)") == 1

    def test_distrusts_the_number_of_a_process(self, lab: RuntimeLab) -> None:
        lab.runtime.add(network({"type": "a"}), "ctr", "/proc/1/ns/net", "eth0")
        lab.runtime.gc(network({"type": "a"}), [])
        assert lab.env("a", "DEL")["CNI_NETNS"] == ""

    def test_only_deletes_in_old_versions(self, lab: RuntimeLab) -> None:
        given = network({"type": "a"}, version="1.0.0")
        self.add_all(lab, given)
        lab.runtime.gc(given, [])
        assert lab.calls() == ["DEL a"] * 3

    def test_can_be_disabled(self, lab: RuntimeLab) -> None:
        given = network({"type": "a"}, disableGC=True)
        self.add_all(lab, given)
        lab.runtime.gc(given, [])
        assert lab.calls() == []


class TestStatus:
    def test_asks_until_one_cannot_work(self, lab: RuntimeLab) -> None:
        assert lab.runtime.status(network()) == ""
        assert lab.calls() == ["STATUS a", "STATUS b", "STATUS c"]
        lab.fail("b", "STATUS", {"code": 50, "msg": "no addresses"})
        with pytest.raises(CniError, match="no addresses") as refusal:
            lab.runtime.status(network())
        assert refusal.value.code == 50
        assert lab.calls() == ["STATUS a", "STATUS b"]

    def test_old_versions_have_none(self, lab: RuntimeLab) -> None:
        assert lab.runtime.status(network(version="1.0.0")) == "version 1.0.0 has no STATUS"
        assert lab.calls() == []

    def test_a_plugin_that_is_missing_is_seen_in_any_version(self, lab: RuntimeLab) -> None:
        for version in ("0.2.0", "0.4.0", "1.1.0"):
            with pytest.raises(CniError, match="failed to find plugin"):
                lab.runtime.status(network({"type": "nowhere"}, version=version))
            with pytest.raises(CniError, match="failed to find plugin"):
                lab.runtime.status(network({"type": "a", "ipam": {"type": "nowhere"}}, version=version))

    def test_refuses_an_unknown_version(self, lab: RuntimeLab) -> None:
        with pytest.raises(CniError, match="incompatible"):
            lab.runtime.status(network(version="1.9.0"))
