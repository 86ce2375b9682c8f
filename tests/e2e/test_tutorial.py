"""docs/tutorial.md, line by line: all that it has people do works, and leaves nothing."""

import re
from pathlib import Path

import pytest

from e2e.documents import find_blocks, prepare, see_network
from e2e.machine import Machine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tutorial.md").read_text()
# Lines of which the tutorial says that they show nothing.
_IN_VAIN = ("nothing:", "no answer")
# Code in the text that is to be typed has a program and what it gets.
_TYPED = re.compile(r"`((?:cat|ip|iptables|nsenter|ping|shibafu) [^`]* [^`]*)`")
# What somebody has in whose network the tutorial's subnet lies.
_TAKEN = "172.20.0.1/16"


def find_lines(text: str) -> list[tuple[str, str]]:
    """Return what is typed at root's prompt, and the comments behind it."""
    lines = re.findall(r"^# (.*)$", "\n".join(find_blocks(text, "")), re.MULTILINE)
    return [(line.partition(" # ")[0].rstrip(), line.partition(" # ")[2]) for line in lines]


def find_way_out() -> tuple[str, str, str]:
    """Return what is typed where the subnet is taken, and which numbers are read in place of which."""
    (command,) = _TYPED.findall(TEXT)
    ((new, old),) = re.findall(r"read ([\d.]+) wherever this\s+page says ([\d.]+)\.\s", TEXT)
    assert f"--subnet {new}.0/24" in command
    return command, new, old


def test_every_command_in_the_text_is_tried() -> None:
    """Those between the lines are only what is typed where a subnet is taken."""
    assert [command.split()[:4] for command in _TYPED.findall(TEXT)] == [
        ["shibafu", "network", "create", "bridge"]
    ]


@pytest.mark.parametrize(
    "is_taken",
    [False, pytest.param(True, marks=pytest.mark.long)],
    ids=["", "where_the_subnet_is_taken"],
)
def test_everything_is_as_the_tutorial_says(machine: Machine, is_taken: bool) -> None:
    prepare(machine)
    text, way_out = TEXT, ""
    if is_taken:
        machine.run("ip", "link", "add", "br-compose", "type", "bridge")
        machine.run("ip", "addr", "add", _TAKEN, "dev", "br-compose")
        machine.run("ip", "link", "set", "br-compose", "up")
        way_out, new, old = find_way_out()
        text = text.replace(f"{old}.", f"{new}.")
    before = see_network(machine)

    def run(line: str, comment: str = "") -> str:
        env = {"SHIBAFU_CGROUP_PARENT": machine.cgroup}
        script = f"cd {ROOT} && {line}"
        done = machine.try_run("bash", "-c", script, env=env)
        is_vain = any(word in comment for word in _IN_VAIN)
        assert is_vain == (done.returncode != 0), (line, done.stdout, done.stderr)
        return done.stdout

    commands, cleaning = find_blocks(text, "sh")
    install, start = commands.splitlines()
    run(install)
    if way_out:
        run(way_out)
    assert run(start).count("1 received") == 3

    said: dict[str, list[str]] = {}
    for line, comment in find_lines(text):
        said.setdefault(line, []).append(run(line, comment))
    subnet = "10.97.0" if is_taken else "172.20.0"
    assert f"{subnet}.4/24" in said["shibafu ps"][0]
    assert said["shibafu network inspect bridge"][0].count("up") >= 4
    assert f"{subnet}.2" in said["shibafu exec web1 ip addr show eth0"][0]
    assert said[f"ip addr | grep {subnet}.2/"] == [""]
    assert f"default via {subnet}.1" in said["shibafu exec web1 ip route"][0]
    assert "MASQUERADE" in said["iptables -t nat -S | grep SHIBAFU"][0]
    assert f"{subnet}.3" in said["shibafu exec web1 arp -n"][0]
    assert "✓ repaired: bridge" in said["shibafu network repair"][0]
    # By hand: what is on the same switch, and what only a route leads to.
    assert ": lo:" in said["ip netns exec lab ip link"][0]
    assert "eth0" not in said["ip netns exec lab ip link"][0]
    assert "1 received" in said["ip netns exec lab ping -c1 10.96.0.1"][0]
    assert ["1 received" in out for out in said[f"ip netns exec lab ping -c1 {subnet}.1"]] == [False, True]
    assert "1 received" in said["shibafu exec web1 ping -c1 172.21.0.2"][0]

    assert said["shibafu policy explain web1 db 5432"][0].startswith("allowed: web1")
    assert said["shibafu policy explain web2 db 5432"][0].startswith("denied: web2")

    for line in cleaning.splitlines():
        run(line)
    assert see_network(machine) == before
    assert machine.files("/etc/cni/net.d") == []
    assert machine.files("/var/lib/shibafu/containers") == []
    assert machine.try_run("shibafu", "--version").returncode != 0
