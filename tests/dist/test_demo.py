"""packaging/demo.sh, which is what a new user sees first."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.built import ROOT

pytestmark = pytest.mark.root

DEMO = ROOT / "packaging" / "demo.sh"


# Does nothing, and returns the result of the plugins before it.
IDLE_PLUGIN = """#!/usr/bin/python3
import json, os, sys
config = json.load(sys.stdin)
if os.environ["CNI_COMMAND"] == "ADD":
    print(json.dumps(config["prevResult"]))
"""


def start(plugins: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [DEMO, "--plugins", plugins, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_demo_shows_all_of_the_main_job(built: Path) -> None:
    demo = start(built)
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    for container in ("red", "green", "blue"):
        for verb in ("ADD", "CHECK", "DEL"):
            assert re.search(rf"✓ {verb} {container} .* ms$", output, re.MULTILINE)
    assert re.search(r"✓ engine +runs: no call has to start Python\n", output)
    assert re.search(r"✓ engine +has run 9 of these 9 calls; stopped\n", output)
    assert "it sees 203.0.113.2, not 10.74.0.4" in output
    assert "it sees 2001:db8:113::2, not fd5b:1baf:0:74::4" in output
    assert re.search(r"firewall rules +0 → \d+ → 0\n", output)
    assert max(len(line) for line in output.splitlines()) <= 100
    assert "\x1b" not in output  # colours are for terminals


@pytest.mark.long
def test_demo_of_all_shows_ports_limits_and_firewall(built: Path) -> None:
    demo = start(built, "--all")
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    refusal = "port 8080/tcp of the host is taken by container demo-red"
    assert re.search(rf"✓ ADD green, TCP 8080 +refused: {refusal}\n", output)
    for client, address, seen in (
        ("outside", "203.0.113.2", "203.0.113.1"),
        ("outside", "2001:db8:113::2", "2001:db8:113::1"),
        ("host", "127.0.0.1", "10.76.0.1"),
        ("green", "203.0.113.2", "10.76.0.1"),
        ("red", "203.0.113.2", "10.76.0.1"),
    ):
        assert re.search(rf"✓ {client} → TCP 8080 +red answers at {address}, and sees {seen}\n", output)
    assert len(re.findall(r"✓ outside → UDP 5302 +red answers at ", output)) == 2
    assert len(re.findall(r"✓ green → red +\d+\.\d Mbit/s; the limit is 20\n", output)) == 2
    assert len(re.findall(r"✓ red → outside +\d+\.\d Mbit/s; the limit is 10\n", output)) == 1
    assert len(re.findall(r"✓ green → outside +\d+\.\d Mbit/s; no limit\n", output)) == 1
    assert len(re.findall(r"✓ blue → red +\S+ does not answer\n", output)) == 2
    assert re.search(r"✓ blue → outside +203\.0\.113\.1 does not answer: a rule in CNI-ADMIN\n", output)
    assert re.search(r"✓ outside → TCP 8080 +nobody answers\n", output)
    assert re.search(r"✓ engine +has run 63 of these 63 calls; stopped\n", output)
    assert re.search(r"firewall rules +0 → \d+ → 0\n", output)
    assert re.search(r"links +.* with the empty shibafu1 shibafu3 another0\n", output)
    assert max(len(line) for line in output.splitlines()) <= 100


@pytest.mark.long
def test_demo_of_an_overlay_shows_three_hosts(built: Path) -> None:
    demo = start(built, "--overlay")
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    for container, host in (("red", "one"), ("green", "two"), ("blue", "three")):
        for verb in ("ADD", "CHECK", "DEL"):
            assert re.search(rf"✓ {verb} {container} on {host} .* ms$", output, re.MULTILINE)
    for ends in ("red → green", "green → blue", "blue → red"):
        assert len(re.findall(rf"✓ {ends} +\S+ answers  ", output)) == 2
    assert re.search(r"✓ iperf3 red → blue +\d+\.\d Gbit/s\n", output)
    assert re.search(r"✓ overlay run on two +has \S+ again, one a route there", output)
    assert re.search(r"✓ etcd ends +blue → red: \S+ answers", output)
    assert max(len(line) for line in output.splitlines()) <= 100


@pytest.mark.parametrize(
    ("idle", "failure"),
    [
        pytest.param("shibafu-portmap", r"✗ green got port 8080", marks=pytest.mark.long),
        pytest.param(
            *("shibafu-bandwidth", r"✗ green → red: \d+\.\d Mbit/s, and the limit is 20 Mbit/s"),
            marks=pytest.mark.long,
        ),
        pytest.param("shibafu-firewall", r"✗ blue has an answer from 10\.76\.0\.10", marks=pytest.mark.long),
        pytest.param("shibafu-tuning", r"✗ net\.core\.somaxconn is 4096 in red", marks=pytest.mark.long),
    ],
)
def test_demo_of_all_fails_without_a_plugin(built: Path, tmp_path: Path, idle: str, failure: str) -> None:
    for program in built.glob("shibafu-*"):
        plugin = tmp_path / program.name
        plugin.write_text(IDLE_PLUGIN if program.name == idle else f'#!/bin/sh\nexec {program} "$@"\n')
        plugin.chmod(0o755)
    demo = start(tmp_path, "--all")
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 1, output
    assert re.search(failure, output), output


@pytest.mark.long
def test_demo_fails_when_a_step_fails(built: Path, tmp_path: Path) -> None:
    # DEL does nothing, so that everything is left.
    for name in ("shibafu-bridge", "shibafu-ipam"):
        plugin = tmp_path / name
        plugin.write_text(f'#!/bin/sh\n[ "$CNI_COMMAND" = DEL ] || exec {built / name}\n')
        plugin.chmod(0o755)
    demo = start(tmp_path)
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 1, output
    assert re.search(r"✓ engine +none belongs to these plugins: each call starts Python\n", output)
    assert "✗ red still has its interface" in output


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_demo_takes_everything_along_when_it_is_stopped(built: Path, number: int) -> None:
    demo = start(built)
    assert demo.stdout is not None
    seen = ""
    while "ADD red" not in seen:
        seen = demo.stdout.readline()
        assert seen
    own = namespace_of(os.getpid())
    entered = {namespace_of(pid) for pid in descendants(demo.pid)} - {own, ""}
    assert entered
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 1
    assert "stopped" in output
    # Nobody is in its namespace any more; with the last process, the kernel removes all that was in there.
    # Other tests' namespaces may get its number for a while.
    deadline = time.monotonic() + 60
    while entered & {namespace_of(int(path.name)) for path in Path("/proc").glob("[0-9]*")}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    """Return a process and all processes below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(one for child in below for one in descendants(child))]


def namespace_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""  # the process has ended
