"""The shell of every plugin."""

import json
from collections.abc import Callable
from io import BytesIO

import pytest

from shibafu import __version__
from shibafu.cni import errors, skel
from shibafu.cni.errors import CniError
from shibafu.cni.version import LATEST, SUPPORTED
from support.calls import call

VALID: dict[str, object] = {"cniVersion": "1.0.0", "name": "net", "type": "sample"}


def test_a_verbs_value_is_printed_and_nothing_else() -> None:
    assert call({"ADD": lambda _: {"a": 1}}, "ADD", VALID) == (0, {"a": 1})
    assert call({"DEL": lambda _: None}, "DEL", VALID) == (0, None)


def test_the_answer_is_indented_by_four_and_ends_with_a_newline() -> None:
    answer = BytesIO()
    env = {"CNI_COMMAND": "STATUS"}
    plugin = skel.Plugin("sample", {"STATUS": lambda _: {"a": ["é"]}}, SUPPORTED)
    skel.run(plugin, env, BytesIO(json.dumps(VALID | {"cniVersion": "1.1.0"}).encode()), answer)
    assert answer.getvalue() == '{\n    "a": [\n        "é"\n    ]\n}\n'.encode()


def raising(error: Exception) -> Callable[[object], object]:
    def verb(_: object) -> object:
        raise error

    return verb


def test_a_cni_error_is_answered_as_it_is() -> None:
    status, answer = call({"ADD": raising(CniError(7, "bad", "more"))}, "ADD", VALID)
    assert status == 1
    assert answer == {"cniVersion": "1.0.0", "code": 7, "msg": "bad", "details": "more"}


def test_an_os_error_is_an_io_failure() -> None:
    status, answer = call({"ADD": raising(OSError(28, "No space left on device", "/x"))}, "ADD", VALID)
    assert status == 1
    assert answer["code"] == errors.IO_FAILURE
    assert answer["msg"] == "cannot do ADD: /x: no space left on device"
    assert answer["details"].startswith("free space")


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), KeyError("k"), RecursionError(), MemoryError()])
def test_a_defect_is_an_error_object_that_says_where(error: Exception) -> None:
    status, answer = call({"ADD": raising(error)}, "ADD", VALID)
    assert status == 1
    assert answer["code"] == errors.INTERNAL
    assert type(error).__name__ in answer["msg"]
    assert "shibafu-sample" in answer["msg"]
    file, _, line = answer["details"].rpartition(":")
    assert file.endswith("test_cni_skel.py")
    assert line.isdigit()


def test_a_verb_that_the_plugin_does_not_have_is_no_crash() -> None:
    # a plugin without GC or STATUS
    status, answer = call({}, "GC", VALID | {"cniVersion": "1.1.0"})
    assert (status, answer) == (0, None)


@pytest.mark.parametrize(
    "stdin", [b"", b"nonsense", b"[]", b"\xff", b"{" * 50000, b'{"name": "x"', b"null", b"\0" * 10]
)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_garbage_on_stdin_is_a_decoding_failure(command: str, stdin: bytes) -> None:
    status, answer = call({command: raising(AssertionError())}, command, stdin)
    assert status == 1
    assert answer["code"] == errors.DECODING_FAILURE


def test_text_that_is_not_utf_8_does_not_break_the_answer() -> None:
    # an environment's bytes that are no UTF-8 arrive as surrogates
    status, answer = call({"ADD": raising(AssertionError())}, "ADD", VALID, CNI_CONTAINERID="a\udcff")
    assert status == 1
    assert answer["msg"] == "invalid characters in containerID"
    assert answer["details"] == "a\udcff"


def test_without_a_command_the_plugin_tells_a_person_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    answer = BytesIO()
    assert skel.run(skel.Plugin("sample", {}, SUPPORTED), {}, BytesIO(), answer) == 0
    assert answer.getvalue() == b""
    assert capsys.readouterr().err == (
        f"CNI sample plugin version {__version__} (shibafu)\n"
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    )


@pytest.mark.parametrize("stated", SUPPORTED)
def test_version_echoes_the_callers(stated: str) -> None:
    assert call({}, "VERSION", {"cniVersion": stated}) == (
        0,
        {"cniVersion": stated, "supportedVersions": list(SUPPORTED)},
    )


@pytest.mark.parametrize("stdin", [b"", b"nonsense", b"[]", b"{}", b'{"cniVersion": 1}', b"\xff"])
def test_version_answers_whatever_stands_on_stdin(stdin: bytes) -> None:
    assert call({}, "VERSION", stdin) == (
        0,
        {"cniVersion": LATEST, "supportedVersions": list(SUPPORTED)},
    )


def test_version_looks_at_nothing_else() -> None:
    # Podman sets all of these to "dummy".
    env = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"), "dummy")
    assert call({}, "VERSION", {"cniVersion": "0.4.0"}, **env)[0] == 0


def test_version_at_a_terminal_does_not_wait_for_input() -> None:
    class Terminal(BytesIO):
        def isatty(self) -> bool:
            return True

        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("would wait for the person")

    answer = BytesIO()
    plugin = skel.Plugin("sample", {}, ("1.0.0",))
    assert skel.run(plugin, {"CNI_COMMAND": "VERSION"}, Terminal(), answer) == 0
    assert json.loads(answer.getvalue()) == {"cniVersion": LATEST, "supportedVersions": ["1.0.0"]}
