"""What a caller may do to the files that a plugin reads from and answers to."""

import subprocess
from json import dumps, loads
from pathlib import Path
from time import monotonic

import pytest

from support.suite import Suite

PLUGINS = ["bridge", "host-local"]


def make_config(tmp_path: Path) -> bytes:
    ipam = {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": str(tmp_path / "networks")}
    return dumps({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": ipam}).encode()


def call(
    suite: Suite, plugin: str, redirection: str, command: str, stdin: bytes
) -> "subprocess.CompletedProcess[bytes]":
    """Call a plugin with redirections of sh(1)."""
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/proc/self/ns/net" if command != "DEL" else "",
        "CNI_IFNAME": "eth7",
        "CNI_PATH": str(suite.directory),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    line = f"exec {suite.directory / plugin} {redirection}"
    return subprocess.run(["sh", "-c", line], env=env, input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_closed_input(suite: Suite, plugin: str, command: str, tmp_path: Path) -> None:
    done = call(suite, plugin, "<&-", command, b"")
    assert done.returncode == 1
    assert loads(done.stdout)["code"] in (4, 6)
    assert not done.stderr


@pytest.mark.parametrize("plugin", PLUGINS)
def test_closed_input_of_version(suite: Suite, plugin: str) -> None:
    done = call(suite, plugin, "<&-", "VERSION", b"")
    assert (done.returncode, loads(done.stdout)["cniVersion"]) == (0, "1.1.0")


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&-"])
@pytest.mark.parametrize("command", ["VERSION", "ADD", "STATUS"])
def test_output_that_cannot_be_written_to(
    suite: Suite, plugin: str, redirection: str, command: str, tmp_path: Path
) -> None:
    """The bridge refuses an ADD into its own namespace; STATUS lacks its configuration."""
    stdin = b"" if command == "STATUS" else make_config(tmp_path)
    done = call(suite, plugin, redirection, command, stdin)
    assert done.returncode == 1
    assert done.stdout == b""
    sentence = done.stderr.decode()
    assert sentence.startswith(f"cannot print the answer to {command}: ")
    assert sentence.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>&- <&-", "2>/dev/full <&-", "2>&- >&-", "2>/dev/full >/dev/full"])
def test_errors_that_cannot_be_written(suite: Suite, redirection: str) -> None:
    done = call(suite, "host-local", redirection, "ADD", b"")
    assert done.returncode == 1
    assert not done.stderr


def test_the_add_of_an_answer_that_cannot_be_printed_is_undone(suite: Suite, tmp_path: Path) -> None:
    done = call(suite, "host-local", ">/dev/full", "ADD", make_config(tmp_path))
    assert done.returncode == 1
    assert (tmp_path / "networks" / "net" / "last_reserved_ip.0").exists()
    assert not list((tmp_path / "networks" / "net").glob("10.*"))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_del_needs_no_output(suite: Suite, plugin: str, tmp_path: Path) -> None:
    done = call(suite, plugin, ">&-", "DEL", make_config(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_version_does_not_wait_for_the_end_of_its_input(suite: Suite, plugin: str) -> None:
    began_at = monotonic()
    with subprocess.Popen(
        [suite.directory / plugin],
        env={"CNI_COMMAND": "VERSION"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"cniVersion": "0.4.0"}')
        process.stdin.flush()
        answer = process.stdout.read()
    assert loads(answer)["cniVersion"] == "0.4.0"
    assert monotonic() - began_at < 3


def test_version_reads_input_that_comes_from_a_file(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "config").write_text('{"cniVersion": "0.3.1"}')
    done = call(suite, "bridge", f"<{tmp_path}/config", "VERSION", b"")
    assert loads(done.stdout)["cniVersion"] == "0.3.1"
