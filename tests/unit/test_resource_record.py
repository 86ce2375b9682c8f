"""The record of an attachment: version 2, version 1, and whatever else may be in the file."""

from json import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.resource.identity import NetnsIdentity
from shibafu.resource.record import ADDRESSED, COMPLETE, LEAVING, Record

BOOT = "8c1f0d1e-0000-4000-8000-000000000000"
WHOLE = Record(
    "c1",
    "eth0",
    "/run/netns/c1",
    "br0",
    "02:00:00:00:00:01",
    True,
    False,
    ["10.0.0.2/24", "fd00::2/64"],
    ADDRESSED,
    NetnsIdentity("/run/netns/c1", 4026532001, 77, BOOT),
    {"name": "net", "runtimeConfig": {"ips": ["10.0.0.2"]}},
    "MAC=02:00:00:00:00:01",
    "/opt/cni/bin",
    {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.2/24"}]},
)
VERSION_1 = {
    "containerID": "c1",
    "ifname": "eth0",
    "netns": "/run/netns/c1",
    "bridge": "br0",
    "mac": "02:00:00:00:00:01",
    "macspoofchk": True,
    "internal": False,
    "ips": ["10.0.0.2/24", "fd00::2/64"],
}


def test_what_is_written_is_read() -> None:
    read = Record.parse(WHOLE.to_bytes())
    assert read.to_bytes() == WHOLE.to_bytes()
    assert (read.version, read.phase, read.owner) == (2, ADDRESSED, ("c1", "eth0"))
    assert read.identity is not None
    assert (read.identity.path, read.identity.inode, read.identity.cookie) == (
        "/run/netns/c1",
        4026532001,
        77,
    )
    assert list(map(str, read.addresses)) == ["10.0.0.2/24", "fd00::2/64"]


def test_version_1_is_read_as_a_whole_attachment() -> None:
    read = Record.parse(dumps(VERSION_1, indent=4).encode())
    assert (read.version, read.phase, read.owner) == (1, COMPLETE, ("c1", "eth0"))
    assert (read.netns, read.bridge, read.mac, read.has_spoof_check) == (
        "/run/netns/c1",
        "br0",
        "02:00:00:00:00:01",
        True,
    )
    assert (read.identity, read.config, read.result) == (None, None, None)


def test_version_1_finds_its_keys_in_version_2() -> None:
    assert loads(WHOLE.to_bytes()).items() >= VERSION_1.items()


def test_bytes_that_are_no_text() -> None:
    odd = Record("c1", "eth0", args="A=\udcff")
    assert Record.parse(odd.to_bytes()).args == "A=\udcff"


@pytest.mark.parametrize("end", range(0, len(WHOLE.to_bytes()), 7))
def test_a_torn_record_tells_what_is_whole_in_it(end: int) -> None:
    """A killed process has written the beginning of a record over an older one."""
    content = WHOLE.to_bytes()
    older = Record("c1", "eth0", "/run/netns/c1", "br0", "02:00:00:00:00:01", True, phase=LEAVING).to_bytes()
    read = Record.parse(content[:end] + older[end:])
    assert read.container_id in ("c1", "")
    assert read.mac in ("02:00:00:00:00:01", "")
    if end > content.index(b'"ips"'):
        assert read.owner == ("c1", "eth0")
        assert read.has_spoof_check


@pytest.mark.parametrize(
    ("key", "value", "attribute"),
    [
        ("mac", "None", "mac"),
        ("mac", 7, "mac"),
        ("containerID", 7, "owner"),
        ("ips", "10.0.0.2/24", "ips"),
        ("ips", ["x", 7, None], "addresses"),
        ("config", [], "config"),
        ("result", "x", "result"),
        ("netnsIdentity", {"inode": "x"}, "identity"),
        ("macspoofchk", "yes", "has_spoof_check"),
    ],
)
def test_what_makes_no_sense_is_not_known(key: str, value: object, attribute: str) -> None:
    read = Record.parse(dumps(loads(WHOLE.to_bytes()) | {key: value}).encode())
    assert not getattr(read, attribute)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: dumps(
            dict.fromkeys([*VERSION_1, "v", "phase", "config", "netnsIdentity"], value)
        ).encode()
    )
)
def test_rubbish_is_never_an_error(content: bytes) -> None:
    read = Record.parse(content)
    assert isinstance(read.addresses, list)
    assert Record.parse(read.to_bytes()).to_bytes() == read.to_bytes()
