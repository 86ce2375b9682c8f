"""Calling another plugin, in a process of its own or in this one."""

import os
from collections.abc import Callable
from errno import ENOSPC
from json import loads
from pathlib import Path

import pytest

from shibafu.cni import errors
from shibafu.cni.delegate import Installation, delegate, find_plugin, parse_answer, prepare_delegate
from shibafu.cni.errors import CniError
from shibafu.cni.request import Request
from shibafu.cni.skel import Plugin
from shibafu.cni.version import SUPPORTED
from support.calls import make_request

NOTHING = Installation("/nowhere", {})


def make_plugin(directory: Path, script: str, name: str = "sample") -> Path:
    directory.mkdir(exist_ok=True)
    plugin = directory / name
    plugin.write_text(f"#!/bin/sh\n{script}\n")
    plugin.chmod(0o755)
    return plugin


def answer_error(plugin: Path, command: str = "ADD") -> CniError:
    with pytest.raises(CniError) as caught:
        delegate(make_request(CNI_PATH=str(plugin.parent)), plugin.name, command, NOTHING)
    return caught.value


def test_the_first_regular_file_in_cni_path_is_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "a" / "sample").mkdir(parents=True)
    plugin = make_plugin(tmp_path / "b", "")
    make_plugin(tmp_path / "c", "")
    assert find_plugin("sample", f"{tmp_path}/none::{tmp_path}/a:{tmp_path}/b:{tmp_path}/c") == str(plugin)


@pytest.mark.parametrize(
    ("name", "path", "code", "message"),
    [
        ("", "/bin", 7, "no plugin name provided"),
        ("../sample", "/bin", 7, "invalid plugin name: ../sample"),
        ("/bin/sh", "/bin", 7, "invalid plugin name: /bin/sh"),
        ("sample", "", 4, "required env variables [CNI_PATH] missing"),
        ("sample", "/no:/where", 7, 'failed to find plugin "sample" in path [/no /where]'),
    ],
)
def test_what_is_no_plugin(name: str, path: str, code: int, message: str) -> None:
    with pytest.raises(CniError) as caught:
        find_plugin(name, path)
    assert (caught.value.code, caught.value.msg) == (code, message)


def test_a_plugin_in_another_directory_is_found_for_the_error(tmp_path: Path) -> None:
    make_plugin(tmp_path / "libexec", "")
    usual = (f"{tmp_path}/opt", f"{tmp_path}/libexec")
    with pytest.raises(CniError) as caught:
        find_plugin("sample", "/no", usual)
    assert caught.value.details.startswith(f"it is in {tmp_path}/libexec: add this directory to CNI_PATH")
    with pytest.raises(CniError) as caught:
        find_plugin("other", "/no", usual)
    assert "correct its name" in caught.value.details


def test_it_gets_the_same_environment_and_the_same_bytes(tmp_path: Path) -> None:
    plugin = make_plugin(
        tmp_path, 'cat > "$OUT/stdin"; env > "$OUT/env"; echo \'{"ips": []}\'; echo said >&2'
    )
    request = make_request({"x": 1}, "ADD", CNI_PATH=str(tmp_path), OUT=str(tmp_path), CNI_ARGS="A=1")
    answer = delegate(request, plugin.name, "CHECK", NOTHING)
    assert answer is not None
    assert answer.values == {"ips": []}
    assert (tmp_path / "stdin").read_bytes() == request.stdin
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {k: v for k, v in seen.items() if k.startswith("CNI")} == {
        k: v for k, v in request.env.items() if k.startswith("CNI")
    } | {"CNI_COMMAND": "CHECK"}


def test_its_stderr_is_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin = make_plugin(tmp_path, "echo said >&2")
    assert delegate(make_request(CNI_PATH=str(tmp_path)), plugin.name, "DEL", NOTHING) is None
    assert capfd.readouterr() == ("", "said\n")


def test_its_error_is_passed_on(tmp_path: Path) -> None:
    plugin = make_plugin(tmp_path, """echo '{"code": 11, "msg": "later", "details": "d"}'; exit 1""")
    error = answer_error(plugin)
    assert (error.code, error.msg, error.details) == (11, "later", "d")


def test_details_that_are_no_text_are_passed_on_as_json(tmp_path: Path) -> None:
    plugin = make_plugin(tmp_path, """echo '{"code": 11, "msg": "later", "details": {"a": 1}}'; exit 1""")
    error = answer_error(plugin)
    assert (error.code, error.msg, loads(error.details)) == (11, "later", {"a": 1})


@pytest.mark.parametrize(
    "result",
    [
        '{"cniVersion": "1.0.0", "ips": 1}',
        '{"cniVersion": "1.0.0", "ips": ["x"]}',
        '{"cniVersion": "1.0.0", "ips": [{"address": "x"}]}',
        '{"cniVersion": 7}',
    ],
)
def test_a_result_that_is_none_is_the_plugins_fault(tmp_path: Path, result: str) -> None:
    plugin = make_plugin(tmp_path, f"echo '{result}'")
    answer = delegate(make_request(CNI_PATH=str(tmp_path)), plugin.name, "ADD", NOTHING)
    with pytest.raises(CniError) as caught:
        parse_answer(plugin.name, answer)
    assert caught.value.code == errors.DELEGATE
    assert caught.value.msg == 'plugin "sample" answered ADD with something that is not a result'
    assert "netconf" not in caught.value.details.lower()


def test_no_answer_is_an_empty_result() -> None:
    assert not parse_answer("sample", None).ips


@pytest.mark.parametrize(
    ("script", "message", "details"),
    [
        ("exit 3", 'plugin "sample" failed with status 3 without an error object', ""),
        ("echo oops; exit 3", 'plugin "sample" failed with status 3 without an error object', "oops\n"),
        ("kill -9 $$", 'plugin "sample" was killed by signal 9 without an error object', ""),
        ("echo '{}'; exit 1", 'plugin "sample" failed with status 1 without an error object', "{}\n"),
        ("echo nonsense", 'plugin "sample" did not answer ADD with a JSON object', "error unmarshall"),
        ("echo '[]'", 'plugin "sample" did not answer ADD with a JSON object', "error unmarshall"),
        (r"printf '\377'; exit 1", 'plugin "sample" failed with status 1 without an error object', "\ufffd"),
    ],
)
def test_a_plugin_that_answers_nonsense(tmp_path: Path, script: str, message: str, details: str) -> None:
    error = answer_error(make_plugin(tmp_path, script))
    assert (error.code, error.msg) == (errors.DELEGATE, message)
    assert error.details.startswith(details)


def test_a_plugin_that_cannot_be_executed(tmp_path: Path) -> None:
    plugin = make_plugin(tmp_path, "")
    plugin.chmod(0o644)
    if os.geteuid() == 0:
        # not even root executes what nobody may
        error = answer_error(plugin)
        assert error.code == errors.DELEGATE
        assert error.msg == f'cannot execute plugin "{plugin}": Permission denied'


def test_no_output_is_no_answer(tmp_path: Path) -> None:
    plugin = make_plugin(tmp_path, "echo; echo")
    assert delegate(make_request(CNI_PATH=str(tmp_path)), plugin.name, "ADD", NOTHING) is None


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_a_plugin_that_hangs_is_ended(tmp_path: Path, command: str) -> None:
    plugin = make_plugin(tmp_path, 'echo $$ >"$OUT/pid"; sleep 600; echo "{}"')
    request = make_request(CNI_PATH=str(tmp_path), OUT=str(tmp_path))
    with pytest.raises(CniError) as caught:
        delegate(request, plugin.name, command, NOTHING, patience=0.3)
    assert caught.value.code == errors.TRY_AGAIN_LATER
    assert (
        caught.value.msg == f'plugin "sample" did not answer {command} within 0.3 seconds and was terminated'
    )
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def answer_call(request: Request) -> object:
    match request.env.get("FAIL"):
        case "error":
            raise CniError(errors.NO_ADDRESS, "full")
        case "file":
            raise OSError(ENOSPC, "No space left on device", "/var/lib")
        case "defect":
            raise KeyError("x")
    return {"pid": os.getpid(), "command": request.env["CNI_COMMAND"], "name": request.network}


VERBS = dict.fromkeys(("ADD", "STATUS"), answer_call)
own_plugin = Plugin("ipam", VERBS, SUPPORTED)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    make_plugin(tmp_path / "installed", "exit 9", "shibafu-ipam")
    make_plugin(tmp_path / "installed", "exit 9", "shibafu-bridge")
    return Installation(str(tmp_path / "installed"), {"shibafu-ipam": lambda: own_plugin})


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_our_own_plugin_runs_in_this_process_under_any_name(
    tmp_path: Path, installation: Installation, link: object
) -> None:
    name, path = "shibafu-ipam", f"{tmp_path}/installed"
    if callable(link):
        name, path = "host-local", str(tmp_path)
        link(f"{tmp_path}/installed/shibafu-ipam", f"{tmp_path}/host-local")
    answer = delegate(make_request(CNI_PATH=path), name, "STATUS", installation)
    assert answer is not None
    assert answer.values == {"pid": os.getpid(), "command": "STATUS", "name": "net"}


def test_the_error_of_our_own_plugin_is_passed_on(tmp_path: Path, installation: Installation) -> None:
    request = make_request(CNI_PATH=f"{tmp_path}/installed", FAIL="error")
    with pytest.raises(CniError, match=r"^full$") as caught:
        delegate(request, "shibafu-ipam", "ADD", installation)
    assert caught.value.code == errors.NO_ADDRESS


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("file", errors.IO_FAILURE, "cannot do ADD: /var/lib: no space left on device"),
        ("defect", errors.INTERNAL, "internal error in shibafu-ipam"),
    ],
)
def test_a_failure_of_our_own_plugin_is_its_error(
    tmp_path: Path, installation: Installation, how: str, code: int, said: str
) -> None:
    request = make_request(CNI_PATH=f"{tmp_path}/installed", FAIL=how)
    with pytest.raises(CniError, match=said) as caught:
        delegate(request, "shibafu-ipam", "ADD", installation)
    assert caught.value.code == code


def test_a_verb_that_our_own_plugin_lacks_succeeds(tmp_path: Path, installation: Installation) -> None:
    assert (
        delegate(make_request(CNI_PATH=f"{tmp_path}/installed"), "shibafu-ipam", "GC", installation) is None
    )


def test_another_installations_plugin_of_that_name_is_executed(
    tmp_path: Path, installation: Installation
) -> None:
    make_plugin(tmp_path / "other", """echo '{"other": true}'""", "shibafu-ipam")
    answer = delegate(make_request(CNI_PATH=f"{tmp_path}/other"), "shibafu-ipam", "ADD", installation)
    assert answer is not None
    assert answer.values == {"other": True}


def test_a_program_that_has_no_function_is_executed(tmp_path: Path, installation: Installation) -> None:
    with pytest.raises(CniError, match="failed with status 9"):
        delegate(make_request(CNI_PATH=f"{tmp_path}/installed"), "shibafu-bridge", "ADD", installation)


def test_an_installation_that_is_incomplete_executes(tmp_path: Path) -> None:
    plugin = make_plugin(tmp_path / "p", "echo '{}'", "shibafu-ipam")
    incomplete = Installation(str(tmp_path / "none"), {"shibafu-ipam": lambda: own_plugin})
    answer = delegate(make_request(CNI_PATH=str(plugin.parent)), plugin.name, "ADD", incomplete)
    assert answer is not None
    assert answer.values == {}


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_plugin_does_not_call_itself(tmp_path: Path, link: Callable[[str, str], None]) -> None:
    own = make_plugin(tmp_path, "exit 9", "shibafu-bridge")
    link(str(own), f"{tmp_path}/bridge")
    installation = Installation(str(tmp_path), {}, str(own))
    request = make_request(CNI_PATH=str(tmp_path))
    for command in ("ADD", "DEL"):
        with pytest.raises(CniError, match='plugin "bridge" is the plugin that calls it') as caught:
            delegate(request, "bridge", command, installation)
        assert caught.value.code == errors.INVALID_CONFIG
        assert "shibafu-ipam" in caught.value.details
    prepare_delegate(request, "bridge", installation)


def test_a_delegate_has_none_of_its_own(tmp_path: Path) -> None:
    """What a script that calls the plugin by another name would come to."""
    make_plugin(tmp_path, "env")
    with pytest.raises(CniError, match="is the plugin that calls it"):
        delegate(make_request(CNI_PATH=str(tmp_path), SHIBAFU_DELEGATE="x"), "sample", "ADD", NOTHING)
    with pytest.raises(CniError) as caught:
        delegate(make_request(CNI_PATH=str(tmp_path)), "sample", "ADD", NOTHING)
    assert caught.value.code == errors.DELEGATE
    make_plugin(tmp_path, """echo "{\\"called\\": \\"$SHIBAFU_DELEGATE\\"}" """)
    answer = delegate(make_request(CNI_PATH=str(tmp_path)), "sample", "ADD", NOTHING)
    assert answer is not None
    assert answer.values == {"called": "sample"}
