"""Which network configurations are found, and how files that libcni would read differently are refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.errors import INVALID_CONFIG
from shibafu.runtime.conflist import (
    ConflistError,
    NetworkNotFound,
    find_network,
    list_networks,
    load_conflist,
    parse_conflist,
)

PLUGIN = {"type": "bridge"}


def write(path: Path, document: object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def conflist(name: object = "net", **keys: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": name, "plugins": [PLUGIN]} | keys


def test_the_first_file_that_has_the_name_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "20-b.conflist", conflist(disableCheck=True))
    write(tmp_path / "10-a.conflist", conflist())
    write(tmp_path / "05-c.conf", {"name": "net", "type": "ptp"})
    network = find_network("net", str(tmp_path))
    assert network.path == f"{tmp_path}/10-a.conflist"
    assert (network.name, network.cni_version, network.plugins) == ("net", "1.0.0", [PLUGIN])
    assert not network.disable_check
    assert not network.disable_gc
    assert json.loads(network.raw) == conflist()


@pytest.mark.parametrize("suffix", ["conf", "json"])
def test_a_single_plugin_becomes_a_list(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "10-a.conflist", conflist("other"))
    plugin = {"name": "net", "cniVersion": "0.3.1", "type": "bridge"}
    write(tmp_path / f"10-net.{suffix}", plugin)
    network = find_network("net", str(tmp_path))
    assert (network.cni_version, network.plugins) == ("0.3.1", [plugin])
    assert parse_conflist(network.raw, "cache").plugins == [plugin]


def test_a_single_plugin_without_a_name_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "10-loopback.conf", {"type": "loopback"})
    write(tmp_path / "20-net.conf", {"name": "net", "type": "bridge"})
    assert find_network("net", str(tmp_path)).path.endswith("20-net.conf")
    assert [network.name for network in list_networks(str(tmp_path))] == ["net"]


@pytest.mark.parametrize("directory", ["", "none"])
def test_nothing_is_found_in_nothing(tmp_path: Path, directory: str) -> None:
    where = f"{tmp_path}/{directory}".rstrip("/")
    with pytest.raises(NetworkNotFound) as refusal:
        find_network("net", where)
    assert refusal.value.msg == f'no net configuration with name "net" in {where}'
    assert list_networks(where) == []


def test_other_files_and_directories_are_no_networks(tmp_path: Path) -> None:
    (tmp_path / "10-net.conflist").mkdir()
    write(tmp_path / "net.conflist.bak", conflist())
    assert list_networks(str(tmp_path)) == []


def test_a_broken_file_hides_what_comes_after_it(tmp_path: Path) -> None:
    write(tmp_path / "10-a.conflist", conflist("before"))
    broken = write(tmp_path / "20-b.conflist", '{"name": "net", ')
    write(tmp_path / "30-c.conflist", conflist())
    assert find_network("before", str(tmp_path)).name == "before"
    with pytest.raises(ConflistError) as refusal:
        find_network("net", str(tmp_path))
    assert refusal.value.msg.startswith(f"{broken}: error unmarshall network config")
    assert (refusal.value.code, refusal.value.path) == (INVALID_CONFIG, broken)


def test_all_networks_are_listed_and_broken_files_told(tmp_path: Path) -> None:
    write(tmp_path / "10-a.conflist", conflist("one"))
    write(tmp_path / "20-b.conflist", "nonsense")
    write(tmp_path / "30-c.conflist", conflist("two"))
    write(tmp_path / "40-d.conf", {"name": "one", "type": "hidden"})
    broken: list[ConflistError] = []
    networks = list_networks(str(tmp_path), broken)
    assert [(network.name, network.plugins[0]["type"]) for network in networks] == [
        ("one", "bridge"),
        ("two", "bridge"),
    ]
    assert [error.path for error in broken] == [f"{tmp_path}/20-b.conflist"]
    with pytest.raises(ConflistError):
        list_networks(str(tmp_path))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "error unmarshall network config"),
        ({"plugins": [PLUGIN]}, "no name"),
        (conflist(name=5), 'change "name" to a string'),
        (conflist(cniVersion=1), 'change "cniVersion" to a string'),
        (conflist(plugins={}), 'change "plugins" to an array'),
        (conflist(plugins=["bridge"]), 'change "plugins" to an object'),
        (conflist(plugins=[]), "no plugin configs found"),
        ({"name": "net"}, "no plugin configs found"),
        (conflist(plugins=[{}]), 'missing "type"'),
        (conflist(plugins=[{"type": "x", "capabilities": {"ips": "yes"}}]), 'change "ips" to true or false'),
        (conflist(disableCheck="maybe"), 'change "disableCheck" to true or false'),
        (conflist(disableGC=1), 'change "disableGC" to true or false'),
        ({"name": "net", "loadOnlyInlinedPlugins": True}, '"loadOnlyInlinedPlugins" is true'),
        (conflist(cniVersions=["1.x"]), '"1.x" in "cniVersions" is not a version'),
        (conflist(cniVersions=[1]), 'change "cniVersions" to a string'),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, document: object, problem: str) -> None:
    path = write(tmp_path / "net.conflist", document)
    with pytest.raises(ConflistError) as refusal:
        load_conflist(path)
    assert refusal.value.msg.startswith(f"{path}: {problem}")


def test_a_list_in_a_file_for_a_single_plugin_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConflistError, match=r"must be in a file named \*\.conflist"):
        load_conflist(write(tmp_path / "net.conf", conflist()))


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.conflist").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflistError, match=r"net\.conflist: cannot be read: No such file"):
        find_network("net", str(tmp_path))


@pytest.mark.parametrize(("value", "means"), [(True, True), ("true", True), ("TRUE", True), ("false", False)])
def test_booleans_may_be_texts(tmp_path: Path, value: object, means: bool) -> None:
    network = load_conflist(write(tmp_path / "a.conflist", conflist(disableCheck=value, disableGC=value)))
    assert (network.disable_check, network.disable_gc) == (means, means)


@pytest.mark.parametrize(
    ("stated", "others", "chosen"),
    [
        ("0.4.0", ["1.0.0", "1.1.0"], "1.1.0"),
        ("0.4.0", ["0.3.1"], "0.4.0"),
        ("1.0.0", ["1.2.0", "2.0.0"], "1.0.0"),
        ("1.2.0", ["1.0.0"], "1.0.0"),
        ("", ["0.4.0", "1.0.0", "0.10.0"], "1.0.0"),
        ("1.2.0", [], "1.2.0"),
        ("1.2.0", ["1.3.0"], "1.2.0"),
    ],
)
def test_the_highest_known_version_is_chosen(
    tmp_path: Path, stated: str, others: list[str], chosen: str
) -> None:
    document = conflist(cniVersion=stated, cniVersions=others)
    assert load_conflist(write(tmp_path / "a.conflist", document)).cni_version == chosen


class TestPluginsInFilesOfTheirOwn:
    def test_are_appended_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        path = write(tmp_path / "10-net.conflist", conflist())
        write(tmp_path / "net" / "20.conf", {"type": "tuning"})
        write(tmp_path / "net" / "10.conf", {"type": "portmap"})
        write(tmp_path / "net" / "30.json", {"type": "ignored"})
        network = load_conflist(path)
        assert [plugin["type"] for plugin in network.plugins] == ["bridge", "portmap", "tuning"]
        # The cached document has all of them, and reads no directory again.
        again = parse_conflist(network.raw, "cache")
        assert (again.name, again.plugins) == ("net", network.plugins)

    def test_suffice(self, tmp_path: Path) -> None:
        path = write(tmp_path / "10-net.conflist", {"name": "net", "cniVersion": "1.1.0"})
        write(tmp_path / "net" / "10.conf", PLUGIN)
        assert load_conflist(path).plugins == [PLUGIN]

    def test_are_left_out_on_request(self, tmp_path: Path) -> None:
        path = write(tmp_path / "10-net.conflist", conflist(loadOnlyInlinedPlugins="true"))
        write(tmp_path / "net" / "10.conf", "nonsense")
        assert load_conflist(path).plugins == [PLUGIN]

    def test_are_refused_by_their_own_names(self, tmp_path: Path) -> None:
        path = write(tmp_path / "10-net.conflist", conflist())
        broken = write(tmp_path / "net" / "10.conf", {"name": "x"})
        with pytest.raises(ConflistError, match="missing") as refusal:
            load_conflist(path)
        assert refusal.value.path == broken

    def test_are_not_looked_for_elsewhere(self, tmp_path: Path) -> None:
        path = write(tmp_path / "conf" / "net.conflist", conflist(name="../evil"))
        write(tmp_path / "evil" / "10.conf", {"type": "evil"})
        assert load_conflist(path).plugins == [PLUGIN]


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "10-fifo.conflist")
    (tmp_path / "20-gone.conflist").symlink_to("/nonexistent")
    (tmp_path / "30-directory.conflist").mkdir()
    (tmp_path / "40-elsewhere").write_text(
        '{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "a"}]}'
    )
    (tmp_path / "40-net.conflist").symlink_to("40-elsewhere")
    (tmp_path / "50-deep.conflist").write_text('{"name": "deep", "plugins": ' + "[" * 300 + "]" * 300 + "}")
    broken: list[ConflistError] = []
    assert [network.name for network in list_networks(str(tmp_path), broken)] == ["net"]
    said = [error.msg.removeprefix(f"{tmp_path}/").partition(":")[::2] for error in broken]
    assert said[:2] == [
        ("10-fifo.conflist", " is not a regular file: remove it"),
        ("20-gone.conflist", " cannot be read: No such file or directory"),
    ]
    assert said[2][0] == "50-deep.conflist"
    assert "nested too deeply" in said[2][1]
    assert len(broken) == 3


def test_a_plugin_of_its_own_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "net.conflist").write_text('{"cniVersion": "1.0.0", "name": "net", "plugins": []}')
    (tmp_path / "net").mkdir()
    os.mkfifo(tmp_path / "net/10.conf")
    with pytest.raises(ConflistError, match=r"net/10\.conf: is not a regular file"):
        load_conflist(str(tmp_path / "net.conflist"))
