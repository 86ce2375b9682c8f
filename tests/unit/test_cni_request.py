"""The environment table of the specification, and what is refused before a plugin does anything."""

import pytest

from shibafu.cni import errors
from shibafu.cni.version import SUPPORTED
from support.calls import call

VALID: dict[str, object] = {"cniVersion": "1.1.0", "name": "net", "type": "sample"}
VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS")


def ask(command: str, document: dict[str, object], **env: str) -> dict[str, object]:
    """Return the error object that a plugin answers with whose verbs are never reached."""

    def reached(_: object) -> object:
        raise AssertionError("the verb ran")

    status, answer = call(dict.fromkeys(VERBS, reached), command, document, **env)
    assert status == 1
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    ("command", "required"),
    [
        ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME"]),
        ("GC", ["CNI_PATH"]),
    ],
)
def test_what_a_verb_needs_and_what_not(command: str, required: list[str]) -> None:
    nothing = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"), "")
    answer = ask(command, VALID, **nothing)
    assert answer["code"] == errors.INVALID_ENVIRONMENT
    assert answer["msg"] == f"required env variables [{','.join(required)}] missing"
    for name in required:
        assert ask(command, VALID, **{name: ""})["msg"] == f"required env variables [{name}] missing"
    values = {"CNI_CONTAINERID": "c", "CNI_NETNS": "/n", "CNI_IFNAME": "eth0", "CNI_PATH": "/bin"}
    enough = nothing | {name: values[name] for name in required}
    assert call({command: lambda _: None}, command, VALID, **enough) == (0, None)


def test_status_needs_nothing_of_the_environment() -> None:
    nothing = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"), "")
    assert call({"STATUS": lambda _: None}, "STATUS", VALID, **nothing) == (0, None)


@pytest.mark.parametrize("container_id", ["-a", "a b", "a/b", "..", "é", "a\n"])
def test_container_id(container_id: str) -> None:
    answer = ask("ADD", VALID, CNI_CONTAINERID=container_id)
    assert (answer["code"], answer["msg"]) == (4, "invalid characters in containerID")
    assert answer["details"] == container_id


@pytest.mark.parametrize(
    ("ifname", "message"),
    [
        ("a" * 16, "interface name is too long"),
        ("ä" * 8, "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a/b", "interface name contains / or : or whitespace characters"),
        ("a:b", "interface name contains / or : or whitespace characters"),
        ("a b", "interface name contains / or : or whitespace characters"),
        ("a\n", "interface name contains / or : or whitespace characters"),
        ("e\udcff", "interface name is not UTF-8"),
    ],
)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_ifname(command: str, ifname: str, message: str) -> None:
    answer = ask(command, VALID, CNI_IFNAME=ifname)
    assert (answer["code"], answer["msg"]) == (4, message)


@pytest.mark.parametrize("ifname", ["%d", "eth%d", "eth%"])
def test_a_pattern_is_no_name_and_del_finds_nothing_of_it(ifname: str) -> None:
    for command in ("ADD", "CHECK"):
        answer = ask(command, VALID, CNI_IFNAME=ifname)
        assert (answer["code"], answer["msg"]) == (4, "interface name contains %")
        assert ifname in str(answer["details"])
    assert call({"DEL": lambda _: None}, "DEL", VALID, CNI_IFNAME=ifname) == (0, None)


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_verbs_of_a_whole_network_do_not_look_at_one_container(command: str) -> None:
    # cnitool sets these to nothing, others to what they were called with
    env = {"CNI_CONTAINERID": "-", "CNI_IFNAME": "a/b", "CNI_NETNS": "dummy"}
    assert call({command: lambda _: None}, command, VALID, **env) == (0, None)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"name": None}, 7, "missing network name"),
        ({"name": ""}, 7, "missing network name"),
        ({"name": "a/b"}, 7, "invalid characters found in network name"),
        ({"name": ".."}, 7, "invalid characters found in network name"),
        ({"cniVersion": "1.2.0"}, 1, "incompatible CNI versions"),
        ({"cniVersion": "1.0"}, 1, "incompatible CNI versions"),
        ({"cniVersion": "v1.0.0"}, 1, "incompatible CNI versions"),
    ],
)
def test_configuration(change: dict[str, object], code: int, message: str) -> None:
    answer = ask("ADD", VALID | change)
    assert (answer["code"], answer["msg"]) == (code, message)


def test_an_unsupported_version_is_told_what_is_supported() -> None:
    answer = ask("ADD", VALID | {"cniVersion": "1.2.0"})
    listed = " ".join(f'"{v}"' for v in SUPPORTED)
    assert answer["details"] == f'config is "1.2.0", plugin supports [{listed}]'


def test_an_unknown_command_is_refused_after_the_configuration() -> None:
    assert ask("FOO", VALID)["msg"] == "unknown CNI_COMMAND: FOO"
    assert ask("FOO", {"cniVersion": "1.1.0"})["msg"] == "missing network name"
    assert ask("add", VALID)["code"] == errors.INVALID_ENVIRONMENT


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("command", VERBS)
def test_versions_and_verbs(version: str, command: str) -> None:
    first = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}.get(command, "0.1.0")
    document = VALID | {"cniVersion": version}
    if SUPPORTED.index(version) >= SUPPORTED.index(first):
        assert call({command: lambda _: None}, command, document) == (0, None)
    else:
        answer = ask(command, document)
        assert (answer["code"], answer["msg"]) == (1, f"config version does not allow {command}")


@pytest.mark.parametrize("document", [{"name": "net"}, {"name": "net", "cniVersion": ""}])
def test_without_a_version_it_is_the_first(document: dict[str, object]) -> None:
    seen = []
    assert call({"ADD": lambda request: seen.append(request.cni_version)}, "ADD", document) == (0, None)
    assert seen == ["0.1.0"]


def test_a_version_that_is_no_string_cannot_be_decoded() -> None:
    answer = ask("ADD", VALID | {"cniVersion": 1})
    assert answer["code"] in (errors.DECODING_FAILURE, errors.INVALID_CONFIG)
    assert "cniVersion" not in answer


def test_the_request_carries_what_was_given() -> None:
    from shibafu.cni.request import Request

    seen: list[Request] = []
    call({"ADD": seen.append}, "ADD", VALID, CNI_ARGS="A=1")
    request = seen[0]
    assert (request.container_id, request.netns, request.ifname) == ("ctr-1", "/run/netns/ctr-1", "eth0")
    assert (request.command, request.network, request.args) == ("ADD", "net", "A=1")
    assert request.stdin.startswith(b'{"cniVersion"')


@pytest.mark.parametrize("command", VERBS)
def test_a_network_whose_name_no_file_can_have(command: str) -> None:
    longest = VALID | {"name": "n" * 255}
    assert call({command: lambda _: None}, command, longest) == (0, None)
    if command in ("DEL", "GC"):
        assert call({command: lambda _: None}, command, VALID | {"name": "n" * 256}) == (0, None)
        return
    answer = ask(command, VALID | {"name": "n" * 256})
    assert (answer["code"], answer["msg"]) == (7, "network name is too long: it has 256 characters")
