"""What people write into arguments and into the cache of results that is meant for something else."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.spoiling import KINDS, spoil_result

_INJECTED = ["{};K=1", "{}=1", "{}\n", "{}\x01", "{}\x7f", "\n{}", "{}\u2028"]


@pytest.fixture
def shibafu(shibafu: CommandLine) -> CommandLine:
    shibafu("network create blue --subnet 10.66.0.0/24")
    return shibafu


@pytest.fixture
def containers() -> Iterator[list[Namespace]]:
    made = [Namespace(name) for name in ("web1", "web2", "web3")]
    yield made
    for namespace in made:
        namespace.delete()


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("value", _INJECTED)
@pytest.mark.parametrize(("option", "good"), [("--ip", "10.66.0.9"), ("--mac", "02:00:00:00:00:09")])
def test_nothing_gets_into_cni_args(
    shibafu: CommandLine, containers: list[Namespace], option: str, good: str, value: str, declared: bool
) -> None:
    path = shibafu.conf_dir / "blue.conflist"
    config = json.loads(path.read_text())
    for plugin in config["plugins"]:
        plugin["capabilities"] = {"ips": declared, "mac": declared}
    path.write_text(json.dumps(config))
    name = containers[0].name
    out, said = shibafu.run("network", "connect", "blue", name, option, value.format(good), status=1)
    assert out == ""
    assert said.startswith("shibafu: ")
    assert len(said.splitlines()) == 2
    assert all(line.isprintable() for line in said.splitlines())
    assert shibafu.json("ipam ls") == []
    assert list(shibafu.cache_dir.glob("*")) == []


@pytest.mark.parametrize("value", ["{};K=1", "{}=1", "{}\x01", "{}\x1b[2J", "{}\u2028K=1", "{}\nK=1"])
@pytest.mark.parametrize(("option", "good"), [("--ip", "10.66.0.9"), ("--mac", "02:00:00:00:00:09")])
def test_run_refuses_it_before_anything_is_made(
    shibafu: CommandLine, tmp_path: Path, option: str, good: str, value: str
) -> None:
    data = tmp_path / "data"
    place = ("--network", "blue", "--data-dir", str(data))
    out, said = shibafu.run("run", *place, option, value.format(good), str(tmp_path), "true", status=125)
    assert out == ""
    assert said.startswith(f"shibafu: {option}: ")
    assert len(said.splitlines()) <= 2
    assert all(line.isprintable() for line in said.splitlines())
    assert not data.exists()


def poison(directory: Path, good: Path, outside: Path) -> set[str]:
    """Put files into a cache beside a good one; return their names."""
    document = json.loads(good.read_text())
    fields: dict[str, dict[str, object]] = {
        "up": {"containerId": "bad-up", "ifName": "/../../outside/file"},
        "other": {"containerId": "../../outside/file"},
        "network": {"networkName": "blue/../.."},
        "list": {"containerId": "bad-list", "ifName": "eth0;x"},
        "line": {"containerId": "bad\nline"},
        "path": {"containerId": "bad-path", "ifName": str(outside / "file")},
        "types": {"containerId": 7, "ifName": []},
        "config": {"containerId": "bad-config", "config": "x"},
    }
    for name, changes in fields.items():
        (directory / f"blue-bad-{name}-eth0").write_text(json.dumps(document | changes))
    (directory / "blue-bad-deep-eth0").write_text("[" * 200_000)
    os.mkfifo(directory / "blue-bad-fifo-eth0")
    (directory / "blue-bad-link-eth0").symlink_to("/nonexistent")
    (directory / "blue-bad-linked-eth0").symlink_to(outside / "file")
    (directory / "blue-bad-directory-eth0").mkdir()
    return {path.name for path in directory.iterdir() if "-bad-" in path.name}


def test_gc_names_what_is_broken_and_does_the_rest(
    shibafu: CommandLine, containers: list[Namespace], tmp_path: Path
) -> None:
    for container in containers:
        shibafu(f"network connect blue {container.name}")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    good = shibafu.cache_dir / f"blue-{containers[2].name}-eth0"
    (shibafu.cache_dir / "blue-bad-up-").mkdir()
    names = poison(shibafu.cache_dir, good, outside)
    # Its interface is one that plugins refuse, and it comes before those that are whole.
    refused = json.loads(good.read_text()) | {"containerId": "a", "ifName": "e:0", "netns": "/nonexistent"}
    (shibafu.cache_dir / "blue-a-e:0").write_text(json.dumps(refused))
    containers[0].delete()
    containers[1].delete()
    out, said = shibafu.run("network", "gc", status=1)
    assert [container.name in out for container in containers] == [True, True, False]
    assert [name for name in names if name not in said] == []
    assert "e:0" in said
    assert [lease["address"] for lease in shibafu.json("ipam ls")] == ["10.66.0.4"]
    assert {path.name for path in shibafu.cache_dir.iterdir()} == {*names, good.name, "blue-a-e:0"}
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "untouched"
    findings = {found["containerID"]: found["problem"] for found in shibafu.json("network check", status=1)}
    assert findings[containers[2].name] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_container_is_detached_whatever_its_result_is(
    shibafu: CommandLine, containers: list[Namespace], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_text("untouched")
    shibafu(f"network connect blue {containers[0].name}")
    (path,) = shibafu.cache_dir.iterdir()
    spoil_result(path, kind, tmp_path / "file")
    # The link is there, whatever the cache says.
    assert "eth1 on network blue" in shibafu(f"network connect blue {containers[0].name}")
    shibafu(f"network disconnect blue {containers[0].name}")
    assert shibafu.json("ipam ls") == []
    assert list(shibafu.cache_dir.iterdir()) == []
    assert (tmp_path / "file").read_text() == "untouched"
