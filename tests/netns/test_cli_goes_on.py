"""One bad input never stops the rest: it is named, the rest is done, and the exit code tells."""

import os
from base64 import b64encode
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from support.command import CommandLine
from support.machine import RECORDS
from support.namespaces import Namespace
from support.traffic import can_reach

_TORN = b'{"cniVersion":"1.0.0","name":"x","plu'
_FILES = {
    "empty.conflist": b"",
    "torn.conflist": _TORN,
    "torn.conf": _TORN,
    "zeros.json": b"\0" * 64,
    "utf16.conflist": '{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"}]}'.encode("utf-16"),
    "deep.conflist": b"[" * 100_000,
    "array.conflist": b"[]",
    "list-in.conf": b'{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"}]}',
    "flat-in.conflist": b'{"cniVersion":"1.0.0","name":"x","type":"bridge"}',
    "number-in.conflist": b'{"cniVersion":"1.0.0","name":"x","plugins":[7]}',
    "no-type.conflist": b'{"cniVersion":"1.0.0","name":"x","plugins":[{}]}',
    "no-plugins.conflist": b'{"cniVersion":"1.0.0","name":"x","plugins":[]}',
    "name.conflist": b'{"cniVersion":"1.0.0","name":7,"plugins":[{"type":"bridge"}]}',
    "path.conflist": b'{"cniVersion":"1.0.0","name":"../../x","plugins":[{"type":"bridge"}]}',
    "half.conflist": b'{"cniVersion":"1.0.0","name":"\\ud800","plugins":[{"type":"bridge"}]}',
}
# What is a network, but one that no plugin takes.
_REFUSED: dict[str, dict[str, object]] = {
    "version": {"cniVersion": "9.0.0", "plugins": [{"type": "bridge"}]},
    "vlan": {"plugins": [{"type": "bridge", "vlan": -1}]},
    "ipam": {"plugins": [{"type": "bridge", "ipam": "host-local"}]},
    "subnet": {"plugins": [{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0/99"}}]},
}

pytestmark = pytest.mark.usefixtures("blue")


@pytest.fixture
def gone() -> Iterator[Namespace]:
    with Namespace("gone") as namespace:
        yield namespace


def spoil(directory: Path) -> set[str]:
    """Put all kinds of files that are no networks before those that are; return their names."""
    names = {f"00-{name}" for name in _FILES}
    for name, content in _FILES.items():
        (directory / f"00-{name}").write_bytes(content)
    os.mkfifo(directory / "00-fifo.conflist")
    (directory / "00-dangling.conflist").symlink_to("/nonexistent")
    (directory / "00-loop.conflist").symlink_to("00-loop.conflist")
    (directory / "00-directory.conflist").mkdir()  # no runtime looks into it
    return names | {"00-fifo.conflist", "00-dangling.conflist", "00-loop.conflist"}


def test_files_that_are_no_networks(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace
) -> None:
    names = spoil(shibafu.conf_dir)
    for container in (web, gone):
        assert shibafu.run("network", "connect", "blue", container.name)[1] == ""

    def run(line: str, status: int = 1) -> str:
        """Run it; see that it names each of the files."""
        out, said = shibafu.run(*line.split(), status=status)
        assert [name for name in names if name not in said] == []
        assert "internal error" not in said
        return out

    host.run("iptables", "-t", "nat", "-F")
    host.run("ip", "link", "del", "br-blue")
    assert "bridge br-blue is missing" in run("network repair --dry-run")
    assert "✓ repaired: blue" in run("network repair")
    assert can_reach(host, "10.66.0.1", web)
    assert "✓ blue web" in run("network check").replace(web.name, "web")
    gone.delete()
    assert gone.name in run("network gc --dry-run")
    assert f"freed what {gone.name}" in run("network gc")
    assert "10.66.0.2" in run("ipam ls")
    assert gone.name not in shibafu("ipam ls blue")
    assert run("network ls --quiet") == "blue\n"
    assert "br-blue (up)" in run("network ls")
    assert "blue:" in run("network export")
    assert "green" in run("network create green", status=0)
    declaration = shibafu.conf_dir.parent / "networks.yaml"
    declaration.write_text("networks: {red: }")
    assert "+ create red" in run(f"network apply -f {declaration}", status=0)
    assert loads(shibafu.run("network", "ls", "-q", "--format", "json", status=1)[0]) == [
        "blue",
        "green",
        "red",
    ]
    # Whoever names networks is told of these only.
    for line in (
        "network check blue",
        "network repair blue",
        "network gc blue",
        "network inspect blue",
        "network export blue",
        f"network disconnect blue {web.name}",
        "network rm blue green red",
    ):
        assert shibafu.run(*line.split())[1] == ""


def test_a_declared_network_whose_file_is_broken_is_refused_before_any_is_made(shibafu: CommandLine) -> None:
    (shibafu.conf_dir / "red.conflist").write_bytes(_TORN)
    declaration = "networks: {green: , red: }"
    said = shibafu.fail("network apply -f -", stdin=declaration)
    assert "red.conflist already exists" in said
    assert not (shibafu.conf_dir / "green.conflist").exists()
    assert (shibafu.conf_dir / "red.conflist").read_bytes() == _TORN


def test_networks_that_no_plugin_takes(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace
) -> None:
    for name, keys in _REFUSED.items():
        conflist = {"cniVersion": "1.1.0", "name": name} | keys
        (shibafu.conf_dir / f"00-{name}.conflist").write_text(dumps(conflist))
    for container in (web, gone):
        shibafu(f"network connect blue {container.name}")
    gone.delete()
    host.run("ip", "link", "del", "br-blue")
    out, said = shibafu.run("network", "repair", status=1)
    assert "✓ repaired: blue: bridge br-blue is missing" in out
    assert [name for name in ("vlan", "ipam", "subnet") if f"network {name}: " not in said] == []
    assert can_reach(host, "10.66.0.1", web)
    out, said = shibafu.run("network", "gc", status=1)
    assert f"freed what {gone.name}" in out
    assert [name for name in _REFUSED if f"network {name}: " not in said] == []
    out, said = shibafu.run("network", "check", status=1)
    assert f"✓ blue {web.name}" in out
    assert [name for name in _REFUSED if f"✗ {name}: " not in out] == []
    assert "br-blue (up)" in shibafu.run("network", "ls", status=1)[0]
    assert "blue:" in shibafu("network export")
    assert "br-blue  bridge, up" in shibafu(f"network inspect {' '.join(_REFUSED)} blue")
    shibafu(f"network rm {' '.join(_REFUSED)}")


def test_gc_frees_no_addresses_of_a_network_whose_configuration_is_refused(
    shibafu: CommandLine, tmp_path: Path
) -> None:
    """Where its leases are is not known then, nor whose they are."""
    ipam = {"type": "host-local", "subnet": "10.67.0.0/24", "dataDir": str(tmp_path / "elsewhere")}
    conflist = {"cniVersion": "1.1.0", "name": "red", "plugins": [{"type": "bridge", "ipam": ipam}]}
    (shibafu.conf_dir / "red.conflist").write_text(dumps(conflist))
    lease = tmp_path / "elsewhere" / "red" / "10.67.0.9"
    lease.parent.mkdir(parents=True)
    lease.write_bytes(b"stranger\r\neth0")
    shibafu("network gc")
    assert lease.exists()
    conflist["plugins"][0]["vlan"] = -1  # type: ignore[index]
    (shibafu.conf_dir / "red.conflist").write_text(dumps(conflist))
    assert "network red: its configuration is invalid" in shibafu.fail("network gc")
    assert lease.exists()


def test_networks_that_fail_keep_no_other_from_being_repaired_freed_and_removed(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace
) -> None:
    shibafu("network create aaa --subnet 10.67.0.0/24")
    for network in ("aaa", "blue"):
        for container in (web, gone):
            shibafu(f"network connect {network} {container.name}")
    host.run("ip", "link", "del", "br-aaa")
    host.run("ip", "link", "add", "br-aaa", "type", "veth", "peer", "other")
    host.run("ip", "link", "del", "br-blue")
    out, said = shibafu.run("network", "repair", status=1)
    assert "network aaa: " in said
    assert "✗ aaa: " in out
    assert "✓ repaired: blue: bridge br-blue is missing" in out
    assert can_reach(host, "10.66.0.1", web)
    gone.delete()
    path = shibafu.conf_dir / "aaa.conflist"
    path.write_text(path.read_text().replace("shibafu-bridge", "nowhere"))
    out, said = shibafu.run("network", "gc", status=1)
    assert "network aaa: " in said
    assert f"blue: freed what {gone.name}" in out
    shibafu(f"network disconnect blue {web.name}")
    out, said = shibafu.run("network", "rm", "aaa", "blue", status=1)
    assert "network aaa has 1 container" in said
    assert "blue: removed" in out
    assert not (shibafu.conf_dir / "blue.conflist").exists()


def test_interfaces_that_fail_keep_no_other_from_being_disconnected(
    shibafu: CommandLine, web: Namespace
) -> None:
    for ifname in ("eth0", "eth1"):
        shibafu(f"network connect blue {web.name} --ifname {ifname}")
    # Another chain than the network's now, by what the runtime remembers.
    path = shibafu.cache_dir / f"blue-{web.name}-eth0"
    document = loads(path.read_text())
    config = {"cniVersion": "1.0.0", "name": "blue", "plugins": [{"type": "nowhere"}]}
    path.write_text(dumps(document | {"config": b64encode(dumps(config).encode()).decode()}))
    out, said = shibafu.run("network", "disconnect", "blue", web.name, status=1)
    assert "nowhere" in said
    assert f"{web.name}: eth1 is detached from network blue" in out
    assert [lease["ifname"] for lease in shibafu.json("ipam ls")] == ["eth0"]

    # So it is when the network is removed with all that is on it.
    shibafu(f"network connect blue {web.name} --ifname eth2")
    assert "nowhere" in shibafu.fail("network rm --force blue")
    assert [lease["ifname"] for lease in shibafu.json("ipam ls")] == ["eth0"]
    assert shibafu("network ls -q") == "blue\n"


def test_a_container_that_fails_keeps_no_other_and_no_rules_from_being_repaired(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace
) -> None:
    first, second = sorted((web, gone), key=lambda container: container.name)
    for container in (first, second):
        shibafu(f"network connect blue {container.name}")
    for endpoint in shibafu.json("network inspect blue")[0]["endpoints"]:
        host.run("ip", "link", "del", endpoint["hostLink"])
    first.run("ip", "link", "add", "eth0", "type", "veth", "peer", "other")
    host.run("iptables", "-t", "nat", "-F")
    for _ in range(2):  # it is not forgotten when it fails
        out, said = shibafu.run("network", "repair", status=1)
        assert f"cannot attach {first.name}, eth0 again: " in said
        assert [line for line in out.splitlines() if first.name in line and not line.startswith("✗")] == []
    assert can_reach(host, "10.66.0.1", second)
    assert "MASQUERADE" in host.run("iptables-save", "-t", "nat")
    first.run("ip", "link", "del", "eth0")
    shibafu("network repair")
    assert can_reach(first, "10.66.0.2", second)
    shibafu("network check")


@pytest.mark.parametrize(
    "kind",
    [
        "torn",
        "fifo",
        *(
            pytest.param(kind, marks=pytest.mark.long)
            for kind in ("empty", "array", "keys", "directory", "link")
        ),
    ],
)
def test_records_that_tell_of_no_container(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace, kind: str
) -> None:
    shibafu("network create red --subnet 10.67.0.0/24")
    for container in (web, gone):
        shibafu(f"network connect blue {container.name}")
    shibafu(f"network connect red {web.name}")
    directory = RECORDS / str(os.stat(host.path).st_ino) / "blue"
    bad = directory / "veth0123456789a"
    if kind == "fifo":
        os.mkfifo(bad)
    elif kind == "directory":
        bad.mkdir()
    elif kind == "link":
        bad.symlink_to("/nonexistent")
    else:
        bad.write_text({"empty": "", "torn": '{"contai', "array": "[]", "keys": '{"containerID": 7}'}[kind])

    for line in ("network check", "network ls", "network inspect blue red", "network repair --dry-run"):
        out, said = shibafu.run(*line.split(), status=1)
        assert str(bad) in out + said, line
        assert "internal error" not in said
    host.run("ip", "link", "del", "br-red")
    assert "repaired: red" in shibafu.run("network", "repair", status=1)[0]
    assert can_reach(host, "10.67.0.1", web)
    gone.delete()
    assert f"freed what {gone.name}" in shibafu("network gc")
    assert not bad.exists()
    shibafu("network check")


@pytest.mark.parametrize("kind", ["owner", "file", "loop"])
def test_records_of_another_network_that_cannot_be_used(
    shibafu: CommandLine, host: Namespace, web: Namespace, gone: Namespace, kind: str
) -> None:
    directory = RECORDS / str(os.stat(host.path).st_ino) / "red"
    directory.parent.mkdir(parents=True, exist_ok=True)
    shibafu("network create red --subnet 10.67.0.0/24")
    if kind == "owner":
        directory.mkdir()
        os.chown(directory, 4711, 4711)
    elif kind == "file":
        directory.write_text("")
    else:
        directory.symlink_to("red")
    for container in (web, gone):
        shibafu(f"network connect blue {container.name}")
    host.run("ip", "link", "del", "br-blue")
    status = 0 if kind == "file" else 1  # nothing is on a network without a directory
    assert "repaired: blue" in shibafu.run("network", "repair", status=status)[0]
    assert can_reach(host, "10.66.0.1", web)
    gone.delete()
    for line, wanted in (
        ("network gc", f"freed what {gone.name}"),
        ("network check", f"✓ blue {web.name}"),
        ("network ls", "br-blue (up)"),
        ("network inspect red blue", "br-blue  bridge, up"),
    ):
        out, said = shibafu.run(*line.split(), status=1 if "check" in line else status)
        assert wanted in out, line
        assert status == 0 or "network red: " in said
        assert "internal error" not in said


@pytest.mark.parametrize("kind", ["directory", "fifo", "loop"])
def test_leases_that_cannot_be_read(shibafu: CommandLine, web: Namespace, gone: Namespace, kind: str) -> None:
    for container in (web, gone):
        shibafu(f"network connect blue {container.name}")
    bad = shibafu.store / "networks/blue/10.66.0.77"
    if kind == "directory":
        bad.mkdir()
    elif kind == "fifo":
        os.mkfifo(bad)
    else:
        bad.symlink_to(bad.name)
    gone.delete()
    for line in ("network check", "network ls", "network inspect blue", "ipam ls", "network gc"):
        out, said = shibafu.run(*line.split(), status=1)
        assert "networks/blue/10.66.0.77" in out + said, line
        assert "internal error" not in said
    assert gone.name not in shibafu.run("ipam", "ls", status=1)[0]
    assert shibafu.run("ipam", "ls", status=1)[0].count("10.66.0.") == 2
