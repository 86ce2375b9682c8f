"""The command line itself: help, exit codes, failures in words."""

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from io import StringIO
from json import loads
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from shibafu.cli.parser import build_parser, run
from support.command_line import LINES, call


@pytest.mark.parametrize("line", LINES)
def test_every_subcommand_helps_with_examples(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run([*line.split(), "--help"], StringIO(), StringIO())
    assert ended.value.code == 0
    text = capsys.readouterr().out
    _, examples = text.split("\nexamples:\n")
    assert f"shibafu {line}" in examples
    assert "--format {text,json}" in text


@pytest.mark.parametrize("line", LINES)
def test_examples_are_command_lines_that_parse(line: str) -> None:
    (parser,) = (p for words, p in _leaves(build_parser()) if words == line)
    assert parser.epilog is not None
    for example in re.findall(r"^  (shibafu [^#|;>\n]*)", parser.epilog, re.MULTILINE):
        build_parser().parse_args(example.split()[1:])


@pytest.mark.parametrize("line", LINES)
def test_a_subcommand_is_parsed_without_the_others(line: str) -> None:
    others = [one for one, _ in _leaves(build_parser(line.split()))]
    assert others == [line] or line == "completion"


def _leaves(parser: ArgumentParser, words: str = "") -> Iterator[tuple[str, ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                yield from _leaves(inner, f"{words} {name}".strip())
            return
    yield words, parser


@pytest.mark.parametrize("line", ["", "network", "ipam", "engine"])
def test_a_line_without_a_subcommand_helps(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(line.split(), StringIO(), StringIO())
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: shibafu {line}".rstrip() in text
    _, examples = text.split("\nexamples:\n") if line else ("", text)
    for subcommand in (one for one in LINES if one.startswith(f"{line} ")):
        assert f"shibafu {subcommand}" in examples


@pytest.mark.parametrize("line", ["nope", "network create", "network ls --nope", "link addr x y"])
def test_a_line_that_makes_no_sense_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(line.split(), StringIO(), StringIO())
    assert ended.value.code == 2
    assert "usage: shibafu" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["run", "run --nope alpine", "run --format xml alpine"])
def test_a_run_that_makes_no_sense_ends_as_no_program_does(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(line.split(), StringIO(), StringIO())
    assert ended.value.code == 125
    assert "usage: shibafu" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "1e9", "soon"])
def test_a_pause_that_makes_no_sense(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("network", "inspect", "blue", "--watch", "--interval", seconds)
    assert ended.value.code == 2
    assert "argument --interval: " in capsys.readouterr().err


@pytest.mark.parametrize("mtu", ["-1", "67", "65536", "99999999999", "9" * 5000, "1.5", "big"])
def test_a_size_of_packets_that_no_link_can_have(mtu: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("link", "create-bridge", "br0", "--mtu", mtu)
    assert ended.value.code == 2
    assert "is not a number from 68 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"networks:\n  caf\xe9: {}\n", ":2: not in UTF-8"),
        ("networks: {}".encode("utf-16"), ":1: not in UTF-8"),
        (b"networks: " + b"[" * 5000, ": nested too deeply"),
        (b"networks: {} #" + b"x" * (1 << 20), ": larger than 1 MB"),
    ],
)
def test_a_declaration_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    status, out, err = call("network", "apply", "-f", str(file))
    assert (status, out) == (1, "")
    assert err.startswith(f"shibafu: {file}{said}\n")


def test_a_defect_is_a_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("shibafu.networks.configured.list_networks", fail)
    status, out, err = call("network", "ls", "--conf-dir", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.startswith(
        "shibafu: internal error in shibafu, please report it: ZeroDivisionError: division by"
    )
    assert "Traceback" not in err


def test_failures_are_sentences_or_json(tmp_path: Path) -> None:
    status, out, err = call("ipam", "ls", "blue", "--conf-dir", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == f"shibafu: there is no network blue in {tmp_path}"
    assert "create it: shibafu network create blue" in err
    status, out, err = call("ipam", "ls", "blue", "--conf-dir", str(tmp_path), "--format", "json")
    assert (status, out) == (1, "")
    assert loads(err)["error"].startswith("there is no network blue")
    status, _, err = call("network", "apply", "-f", str(tmp_path / "nope.yaml"))
    assert status == 1
    assert "nope.yaml: no such file or directory" in err


def test_directories_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNI_CONF_DIR", str(tmp_path))
    (tmp_path / "x.conflist").write_text('{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "ptp"}]}')
    assert call("network", "ls", "--quiet") == (0, "x\n", "")
    assert call("network", "ls", "--quiet", "--conf-dir", "/nowhere") == (0, "", "")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", ">/dev/full"])
def test_streams_that_are_closed_or_full_are_no_defect(redirection: str, tmp_path: Path) -> None:
    line = f'{sys.executable} -m shibafu.cli ipam ls --conf-dir "$0" {redirection}'
    roots = [str(Path(package.__path__[0]).parent) for package in (shibafu, shibafu_ipam)]
    done = subprocess.run(
        ["sh", "-c", line, str(tmp_path)],
        env={"PYTHONPATH": ":".join(roots), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == (1 if "full" in redirection else 0)
