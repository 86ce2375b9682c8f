"""README.md's first screen: the commands work as shown, and the picture matches what they create."""

import re
from pathlib import Path

from e2e.documents import find_blocks, prepare, see_network
from e2e.machine import Machine

ROOT = Path(__file__).parents[2]
SCREEN = (ROOT / "README.md").read_text().partition("<!-- speed: begin -->")[0]


def test_the_first_screen_works(machine: Machine) -> None:
    prepare(machine)
    before = see_network(machine)

    def run(line: str) -> str:
        env = {"SHIBAFU_CGROUP_PARENT": machine.cgroup}
        return machine.run("bash", "-c", f"cd {ROOT} && {line}", env=env)

    install, start = find_blocks(SCREEN, "sh")
    (path,) = re.findall(r"`(/etc/cni/net\.d/\S+)`", SCREEN)
    (conflist,) = find_blocks(SCREEN, "json")
    machine.write(path, conflist)
    run(install)
    detach, ping, inspect, remove = start.splitlines()
    run(detach)
    assert "1 received" in run(ping)
    seen = run(inspect)
    (picture,) = find_blocks(SCREEN, "")
    for part in ("eth0", "10.80.0.1", "10.80.0.2", "veth", "web0"):
        assert part in picture
        assert part in seen
    run(remove)
    run("shibafu network rm web")
    assert see_network(machine) == before
