"""The cache of results: libcni's format, and what becomes of files that are not in it."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shibafu.runtime.cache import CachedAttachment, cache_list, cache_read, cache_remove, cache_write

RESULT: dict[str, object] = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]}


def sample(network: str = "net", container_id: str = "c1", ifname: str = "eth0") -> CachedAttachment:
    return CachedAttachment(
        network,
        container_id,
        ifname,
        "/run/netns/c1",
        RESULT,
        {"IgnoreUnknown": "1", "IP": "10.1.0.2"},
        {"portMappings": [{"hostPort": 80}]},
        b'{"name": "net", "plugins": []}',
    )


def fields(attachment: CachedAttachment | None) -> dict[str, object]:
    assert attachment is not None
    return {name: getattr(attachment, name) for name in CachedAttachment.__slots__}


def test_the_format_is_libcni_s(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    cache_write(sample(), str(directory))
    path = directory / "net-c1-eth0"
    assert [p.name for p in directory.iterdir()] == ["net-c1-eth0"]
    assert (directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert json.loads(path.read_text()) == {
        "kind": "cniCacheV1",
        "containerId": "c1",
        "config": base64.b64encode(sample().config).decode(),
        "ifName": "eth0",
        "networkName": "net",
        "netns": "/run/netns/c1",
        "cniArgs": [["IgnoreUnknown", "1"], ["IP", "10.1.0.2"]],
        "capabilityArgs": {"portMappings": [{"hostPort": 80}]},
        "result": RESULT,
    }


def test_empty_fields_are_left_out(tmp_path: Path) -> None:
    cache_write(CachedAttachment("net", "c1", "eth0"), str(tmp_path))
    keys = set(json.loads((tmp_path / "net-c1-eth0").read_text()))
    assert keys == {"kind", "containerId", "config", "ifName", "networkName"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache_write(sample(), str(tmp_path))
    assert fields(cache_read("net", "c1", "eth0", str(tmp_path))) == fields(sample())


def test_what_is_written_again_is_replaced(tmp_path: Path) -> None:
    cache_write(sample(), str(tmp_path))
    changed = sample()
    changed.netns = "/run/netns/c2"
    cache_write(changed, str(tmp_path))
    assert fields(cache_read("net", "c1", "eth0", str(tmp_path)))["netns"] == "/run/netns/c2"


def test_a_result_alone_is_the_format_of_old(tmp_path: Path) -> None:
    (tmp_path / "net-c1-eth0").write_text(json.dumps(RESULT))
    assert fields(cache_read("net", "c1", "eth0", str(tmp_path)))["result"] == RESULT
    assert cache_list(directory=str(tmp_path)) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"kind": "cniCacheV1", "containerId": "c',
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"kind": "cniCacheV2", "containerId": "c1", "networkName": "net", "ifName": "eth0"}',
        b'{"kind": "cniCacheV1", "containerId": 1, "networkName": "net", "ifName": "eth0"}',
        b'{"kind": "cniCacheV1", "containerId": "c1", "networkName": "net", "ifName": "eth0", "config": "x"}',
    ],
)
def test_a_corrupt_file_counts_as_none_and_can_be_removed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net-c1-eth0"
    path.write_bytes(content)
    assert cache_read("net", "c1", "eth0", str(tmp_path)) is None
    assert cache_list(directory=str(tmp_path)) == []
    cache_remove("net", "c1", "eth0", str(tmp_path))
    assert not path.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"containerId": "../c1"},
        {"containerId": "c\0"},
        {"networkName": "net/../.."},
        {"netns": "/run/netns/c\0"},
        {"ifName": "e\0"},
        {"cniArgs": [["IP", "\0"]]},
    ],
)
def test_what_no_runtime_has_written_counts_as_none(tmp_path: Path, changes: dict[str, object]) -> None:
    cache_write(sample(), str(tmp_path))
    path = tmp_path / "net-c1-eth0"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert cache_list(directory=str(tmp_path)) == []
    assert cache_read("net", "c1", "eth0", str(tmp_path)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ips": 7},
        {"ips": [{"address": 7}]},
        {"interfaces": [3]},
        {"routes": "x"},
        {"dns": 4},
        {"cniVersion": 1},
    ],
)
def test_a_result_that_is_none_is_not_kept(tmp_path: Path, changes: dict[str, object]) -> None:
    written = sample()
    written.result = {"cniVersion": "1.0.0", "ips": [], "interfaces": []} | changes
    cache_write(written, str(tmp_path))
    (read,) = cache_list(directory=str(tmp_path))
    assert (read.key, read.result) == (("net", "c1", "eth0"), None)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nonexistent")])
def test_what_is_no_file_counts_as_none(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "net-c1-eth0")
    assert cache_read("net", "c1", "eth0", str(tmp_path)) is None
    assert cache_list(directory=str(tmp_path)) == []


def test_removing_what_is_not_there_is_all_right(tmp_path: Path) -> None:
    cache_remove("net", "c1", "eth0", str(tmp_path))
    cache_remove("net", "c1", "eth0", str(tmp_path / "none"))


def test_attachments_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    """Network a, container b-c and network a-b, container c."""
    cache_write(sample("a", "b-c"), str(tmp_path))
    assert cache_read("a-b", "c", "eth0", str(tmp_path)) is None
    cache_remove("a-b", "c", "eth0", str(tmp_path))
    assert cache_read("a", "b-c", "eth0", str(tmp_path)) is not None


def test_attachments_are_listed_by_network_and_container(tmp_path: Path) -> None:
    keys = [("a", "c1", "eth0"), ("a", "c2", "eth0"), ("a-b", "c1", "eth1"), ("b", "c1", "eth2")]
    for key in keys:
        cache_write(sample(*key), str(tmp_path))
    (tmp_path / ".a-c9-eth0").write_text("what a killed call left")
    directory = str(tmp_path)
    assert sorted(a.key for a in cache_list(directory=directory)) == keys
    assert [a.key for a in cache_list("a", directory=directory)] == keys[:2]
    assert [a.key for a in cache_list("a", "c2", directory)] == [keys[1]]
    assert {a.key for a in cache_list(container_id="c1", directory=directory)} == {keys[0], *keys[2:]}
    assert cache_list(directory=f"{tmp_path}/none") == []
