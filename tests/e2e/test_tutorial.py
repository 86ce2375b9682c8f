"""docs/tutorial.md, line by line: its two commands, and everything that it has people look at."""

import re
from pathlib import Path

from e2e.machine import Machine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tutorial.md").read_text()
# Lines of which the tutorial says that they show nothing.
_IN_VAIN = ("nothing:", "no answer")


def find_blocks(kind: str) -> list[str]:
    """Return the tutorial's blocks of a kind, such as `sh`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [content for name, content in blocks if name == kind]


def find_lines() -> list[tuple[str, str]]:
    """Return what is typed at root's prompt, and the comments behind it."""
    lines = re.findall(r"^# (.*)$", "\n".join(find_blocks("")), re.MULTILINE)
    return [(line.partition(" # ")[0].rstrip(), line.partition(" # ")[2]) for line in lines]


def prepare(machine: Machine) -> None:
    """Make /usr writable, as on a machine of one's own, and take our plugins away."""
    machine.run("umount", "/opt/cni/bin")
    machine.run("mkdir", "-p", "/run/.over/usr", "/run/.work/usr", "/var/lib/shibafu")
    layers = "lowerdir=/usr,upperdir=/run/.over/usr,workdir=/run/.work/usr"
    machine.run("mount", "-t", "overlay", "overlay", "-o", layers, "/usr")
    # Containers bring an overlay, which cannot lie on another one.
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/shibafu")


def test_everything_is_as_the_tutorial_says(machine: Machine) -> None:
    prepare(machine)

    def run(line: str, comment: str = "") -> str:
        env = {"SHIBAFU_CGROUP_PARENT": machine.cgroup}
        script = f"cd {ROOT} && {line}"
        done = machine.try_run("bash", "-c", script, env=env)
        is_vain = any(word in comment for word in _IN_VAIN)
        assert is_vain or done.returncode == 0, (line, done.stdout, done.stderr)
        assert not is_vain or "1 received" not in done.stdout, line
        return done.stdout

    commands, cleaning = find_blocks("sh")
    install, start = commands.splitlines()
    run(install)
    assert run(start).count("1 received") == 3

    said = {line: run(line, comment) for line, comment in find_lines()}
    assert "172.20.0.4/24" in said["shibafu ps"]
    assert said["shibafu network inspect bridge"].count("up") >= 4
    assert "172.20.0.2" in said["shibafu exec web1 ip addr show eth0"]
    assert said["ip addr | grep 172.20.0.2/"] == ""
    assert "default via 172.20.0.1" in said["shibafu exec web1 ip route"]
    assert "MASQUERADE" in said["iptables -t nat -S | grep SHIBAFU"]
    assert "172.20.0.3" in said["shibafu exec web1 arp -n"]
    assert "✓ repaired: bridge" in said["shibafu network repair"]
    assert "1 received" in said["shibafu exec web1 ping -c1 172.21.0.2"]

    for line in cleaning.splitlines():
        run(line)
    assert machine.files("/etc/cni/net.d") == []
    assert machine.files("/var/lib/shibafu/containers") == []
    assert machine.try_run("shibafu", "--version").returncode != 0
