"""Locations of files, out of the text of mountinfo."""

import pytest

from shibafu.cni.errors import CniError
from shibafu.hook.mounts import MountTable, is_within, read_mounts

# /srv is a file system of its own, of which /a is a part, and /b a part of that; /over hides a part of /srv.
MOUNTS = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw shared:5 master:2 - ext4 /dev/sda2 rw,errors=remount-ro
31 22 8:2 /data/x /a rw - ext4 /dev/sda2 rw
32 22 8:2 /data/x/y /b rw - ext4 /dev/sda2 rw
33 30 8:1 /home /srv/home rw - ext4 /dev/sda1 rw
34 33 0:40 / /srv/home/tmp rw - tmpfs tmpfs rw
35 22 0:31 /@/var /btrfs rw - btrfs /dev/sdb rw,subvol=/@/var
36 22 8:1 /a\040b\134c /with\040blank\011\012\043 rw - ext4 /dev/sda1 rw
37 22 0:4 net:[4026532000] /run/netns/x rw shared:9 - nsfs nsfs rw
38 22 8:1 /names /file rw - ext4 /dev/sda1 rw
39 30 0:41 / /srv/data rw - tmpfs tmpfs rw
40 39 0:42 / /srv/data rw - tmpfs tmpfs rw
41 22 8:1 /gone//deleted /gone rw - ext4 /dev/sda1 rw
"""


@pytest.fixture
def table() -> MountTable:
    return MountTable(MOUNTS)


@pytest.mark.parametrize(
    ("mount", "path", "device", "inner"),
    [
        (22, "/", "8:1", ""),
        (22, "/etc/x", "8:1", "etc/x"),
        (30, "/srv/data/x/y/z", "8:2", "data/x/y/z"),
        (31, "/a/y/z", "8:2", "data/x/y/z"),
        (32, "/b/z", "8:2", "data/x/y/z"),
        (35, "/btrfs/lib", "0:31", "@/var/lib"),
        (36, "/with blank\t\n#/d", "8:1", "a b\\c/d"),
        (37, "/run/netns/x", "0:4", "net:[4026532000]"),
        (38, "/file", "8:1", "names"),
        (40, "/srv/data/z", "0:42", "z"),
    ],
)
def test_aliases_have_one_location(table: MountTable, mount: int, path: str, device: str, inner: str) -> None:
    assert table.locate(mount, path) == (device, tuple(inner.split("/")) if inner else ())


def test_what_is_mounted_on_what(table: MountTable) -> None:
    assert table.find_above(34, "/srv/home/tmp/x") == [
        ("0:40", ("x",)),
        ("8:1", ("home", "tmp")),
        ("8:2", ("home",)),
        ("8:1", ("srv",)),
    ]


@pytest.mark.parametrize(
    ("mount", "path", "devices"),
    [
        (30, "/srv", ["0:40", "0:41", "0:42", "8:1"]),
        (30, "/srv/home", ["0:40", "8:1"]),
        (30, "/srv/homes", []),
        (30, "/srv/hom", []),
        (33, "/srv/home", ["0:40"]),
        (40, "/srv/data", []),
        (31, "/a", []),
    ],
)
def test_what_is_mounted_below(table: MountTable, mount: int, path: str, devices: list[str]) -> None:
    assert sorted(device for device, _ in table.find_beneath(mount, path)) == devices


@pytest.mark.parametrize(
    ("location", "top", "expected"),
    [
        (("8:1", ("a", "b")), ("8:1", ()), True),
        (("8:1", ("a", "b")), ("8:1", ("a", "b")), True),
        (("8:1", ("a",)), ("8:1", ("a", "b")), False),
        (("8:1", ("ab",)), ("8:1", ("a",)), False),
        (("8:1", ("a",)), ("8:2", ("a",)), False),
    ],
)
def test_within(
    location: tuple[str, tuple[str, ...]], top: tuple[str, tuple[str, ...]], expected: bool
) -> None:
    assert is_within(location, [top]) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(b"nonsense", b"22 1 8:1 / /", b"x 1 8:1 / / rw - ext4 a rw", b"22 1 8:1 / here rw - ext4 a rw"),
        *(
            rb"22 1 8:1 /\x / rw - ext4 a rw",
            rb"22 1 8:1 /\999 / rw - ext4 a rw",
            b"22 1 \xff / / rw - a b c",
        ),
        b"22 1 8:1 / / rw shared:1 master:2 ext4 a rw",
    ],
)
def test_a_malformed_line_is_refused(line: bytes) -> None:
    with pytest.raises(CniError, match="malformed line"):
        MountTable(MOUNTS + line)


@pytest.mark.parametrize(
    ("mount", "path"), [(99, "/"), (31, "/elsewhere"), (31, "/"), (32, "/a/y"), (31, "(unreachable)/x")]
)
def test_what_the_table_does_not_have_is_refused(table: MountTable, mount: int, path: str) -> None:
    for look in (table.locate, table.find_above, table.find_beneath):
        with pytest.raises(CniError, match="does not show where"):
            look(mount, path)


def test_mounts_in_a_circle_end() -> None:
    table = MountTable(b"1 2 8:1 / / rw - ext4 a rw\n2 1 8:1 / / rw - ext4 a rw\n")
    with pytest.raises(CniError, match="on top of each other"):
        table.find_above(1, "/")
    assert set(table.find_beneath(1, "/")) == {("8:1", ())}


def test_no_mountinfo_is_one_sentence() -> None:
    with pytest.raises(CniError, match=r"^cannot read /nowhere/mountinfo: No such file or directory$"):
        read_mounts("/nowhere/mountinfo")
