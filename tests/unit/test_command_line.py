"""The command line itself: help, exit codes, completion, tables, pictures."""

import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from json import loads
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from shibafu.cli.completion import SHELLS, find_positions, find_valued_options
from shibafu.cli.parser import build_parser, run
from shibafu.cli.subcommands import GROUPS, TOP_LEVEL
from shibafu.networks.diagram import draw_network
from shibafu.networks.inspect import (
    BridgeState,
    Endpoint,
    NetworkView,
    ResourceFault,
    ResourceState,
    SubnetUse,
)
from shibafu.networks.kernel import Traffic
from shibafu.networks.rules import parse_saved
from shibafu.networks.text import Style, format_count, format_size, format_table

LINES = [f"{group} {subcommand.name}" for group, _, subcommands in GROUPS for subcommand in subcommands]
LINES += ["completion", *(subcommand.name for subcommand in TOP_LEVEL)]


def call(*argv: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    return run(argv, out, err), out.getvalue(), err.getvalue()


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


def _leaves(parser: ArgumentParser, words: str = "") -> Iterator[tuple[str, ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for name, inner in action.choices.items():
                yield from _leaves(inner, f"{words} {name}".strip())
            return
    yield words, parser


@pytest.mark.parametrize(
    "line", ["", "network", "nope", "network create", "network ls --nope", "link addr x y"]
)
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
    assert "make it with: shibafu network create blue" in err
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


# Completion


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    status, out, _ = call("completion", shell)
    assert status == 0
    for _, _, subcommands in GROUPS:
        for subcommand in subcommands:
            assert subcommand.name in out
    if shutil.which(shell) is None and os.geteuid():
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(out)
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# What asks each shell: $SCRIPT completes, and the words before the cursor are the arguments.
PROBES = {
    "bash": """
        . "$SCRIPT"
        COMP_WORDS=(shibafu "$@") COMP_CWORD=$#
        _shibafu
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    # Outside of its line editor there are no completions; what they are handed to prints them here.
    "zsh": """
        compdef() { : }
        compadd() { shift; print -rl -- "$@" }
        _describe() { print -rl -- "${(P@)2%%:*}" }
        . "$SCRIPT"
        words=(shibafu "$@") CURRENT=$((# + 1))
        _shibafu
    """,
    "fish": """
        source $SCRIPT
        complete -C "shibafu $argv"
    """,
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ne"], {"network"}),
        (["network", "ins"], {"inspect"}),
        (["network", "inspect", "bl"], {"blue"}),
        (["network", "inspect", "--watch", "bl"], {"blue"}),
        (["network", "connect", "--ip", "10.1.0.1", "bl"], {"blue"}),
        (["network", "create", "--sub"], {"--subnet"}),
        (["network", "ls", "--format", ""], {"text", "json"}),
        (["completion", "z"], {"zsh"}),
        (["link", "create-"], {"create-bridge", "create-veth"}),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete(shell: str, words: list[str], expected: set[str], tmp_path: Path) -> None:
    if shutil.which(shell) is None and os.geteuid():
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(call("completion", shell)[1])
    # What lists the networks.
    program = tmp_path / "shibafu"
    program.write_text("#!/bin/sh\necho blue\n")
    program.chmod(0o755)
    name = [] if shell == "fish" else [shell]
    done = subprocess.run(
        [shell, "-c", PROBES[shell], *name, *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "SCRIPT": str(script)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    # fish tells also what they are for, and zsh itself selects among what it is handed.
    offered = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert {word for word in offered if word.startswith(words[-1])} == expected


def test_completion_knows_every_position() -> None:
    words = [position.words for position in find_positions(build_parser())]
    assert set(LINES) < set(words)
    valued = find_valued_options(build_parser())
    assert {"--subnet", "--format", "--ip"} < valued
    assert not {"--watch", "--help", "-f"} & valued


# Output


def test_tables_align_and_numbers_are_flush_right() -> None:
    lines = format_table(("NAME", "N"), [("a", "1"), ("long", "100")], Style(False))
    assert lines == ["NAME    N", "a       1", "long  100"]
    assert format_table(("NAME",), [], Style(False)) == ["NAME"]


def test_sizes_and_counts() -> None:
    assert [format_size(size) for size in (0, 999, 1000, 1_250_000)] == ["0 B", "999 B", "1.0 kB", "1.2 MB"]
    assert format_count(1, "container") == "1 container"
    assert format_count(0, "container") == "0 containers"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Style.of_stream(Terminal()).paint("red", "x") == "\x1b[31mx\x1b[0m"
    assert Style.of_stream(StringIO()).paint("red", "x") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Style.of_stream(Terminal()).paint("red", "x") == "x"


def test_saved_rules_are_found_by_chain_and_comment() -> None:
    saved = """\
*nat
:POSTROUTING ACCEPT [0:0]
[7:420] -A POSTROUTING -m comment --comment "shibafu network blue" -j SHIBAFU-927dcf91fcf287db
[3:180] -A SHIBAFU-927dcf91fcf287db -s 10.1.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE
[1:60] -A POSTROUTING -m comment --comment "shibafu network bluer" -j SHIBAFU-0000000000000000
[2:120] -A POSTROUTING -s 10.1.0.9/32 -m comment --comment "name: \\"blue\\" id: \\"c1\\"" -j CNI-0123
COMMIT
"""
    rules = parse_saved(saved, "ipv4", "blue")
    assert [(rule.table, rule.chain, rule.packets, rule.bytes) for rule in rules] == [
        ("nat", "POSTROUTING", 7, 420),
        ("nat", "SHIBAFU-927dcf91fcf287db", 3, 180),
        ("nat", "POSTROUTING", 2, 120),
    ]


def make_view(*endpoints: Endpoint, bridge: BridgeState | None = None) -> NetworkView:
    subnet = SubnetUse("10.1.0.0/24", "10.1.0.1", "10.1.0.254", "10.1.0.1", 253, len(endpoints))
    return NetworkView(
        "blue", "/etc/cni/net.d/blue.conflist", "1.1.0", ["shibafu-bridge"], bridge, [subnet], list(endpoints)
    )


def make_endpoint(name: str, state: str = "up") -> Endpoint:
    return Endpoint(name, "eth0", "", "veth1", "", ["10.1.0.2/24"], state, Traffic(1, 1, 2000, 2), ["cache"])


def test_a_picture_is_straight() -> None:
    addresses = ["10.1.0.1/24", "fd00::1/64"]
    bridge = BridgeState("br-blue", "up", "02:00:00:00:00:01", 1500, addresses, True, None)
    lines = draw_network(
        make_view(make_endpoint("web"), make_endpoint("db-1", "no carrier"), bridge=bridge), Style(False)
    )
    box = [line for line in lines if line.startswith((" ┌", " │", " └"))]
    assert len({len(line) for line in box}) == 1
    assert "br-blue  bridge, up, isolated" in box[1]
    (top,) = (line for line in lines if "┌" in line)
    assert lines[lines.index(top) - 1].index("│") == top.index("┴")
    assert [line[3] for line in lines[-2:]] == ["├", "└"]
    assert lines[-2].index("10.1.0.2") == lines[-1].index("10.1.0.2")
    assert "─✗──" in lines[-1]
    assert "↓ 1 B ↑ 2.0 kB" in lines[-2]


def test_a_picture_names_what_is_wrong() -> None:
    faults = [
        ResourceFault("hairpin mode of link veth1 is off", ""),
        ResourceFault("link veth1 is isolated", ""),
    ]
    port = ResourceState("port", {"hairpinMode": True}, faults)
    gateway = ResourceState(
        "gateway", {}, [ResourceFault("forwarding of IPv4 is switched off on the host", "")]
    )
    view = replace(
        make_view(replace(make_endpoint("web"), resources=[port]), make_endpoint("db")), resources=[gateway]
    )
    lines = draw_network(view, Style(False))
    assert lines[1] == "✗ forwarding of IPv4 is switched off on the host"
    assert "─✗── eth0  web" in lines[-2]
    assert lines[-2].endswith("  ✗ hairpin mode of link veth1 is off (and 1 more)")
    assert "✗" not in lines[-1]


def test_a_picture_of_nothing() -> None:
    missing = BridgeState("br-blue", "missing", "", 0, [], False, None)
    lines = draw_network(make_view(bridge=missing), Style(False))
    assert "no containers" in lines[-1]
    assert not any("the world" in line for line in lines)
    assert any("br-blue  bridge, missing" in line for line in lines)


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
