"""Completion scripts, made of the parser itself."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shibafu.cli.completion import SHELLS, find_positions, find_valued_options
from shibafu.cli.parser import build_parser
from shibafu.cli.subcommands import GROUPS
from support.command_line import LINES, call


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    status, out, _ = call("completion", shell)
    assert status == 0
    for group in GROUPS:
        assert all(name in out for name in group.names)
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
