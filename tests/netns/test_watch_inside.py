"""`shibafu watch run` and what changes inside containers: told, and healed where that is wanted."""

from json import dumps
from typing import Any

import pytest

from netns.watched import Watched, settle
from support.command import CommandLine
from support.namespaces import Namespace
from support.waiting import wait_for

BRIDGE: dict[str, Any] = {
    "type": "bridge",
    "bridge": "jobs0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.69.0.0/24"}]]},
}
BREAKAGES = [
    ("ip route del default", "route to 0.0.0.0/0 is missing in the container"),
    ("ip addr flush dev eth0", "address 10.69.0.2/24 is missing on eth0"),
    ("ip link set eth0 down", "interface eth0 of the container is down"),
]


def connect(shibafu: CommandLine, web: Namespace, is_healed: bool) -> None:
    """Attach a container."""
    bridge = BRIDGE | {"watch": {"container": is_healed}}
    chain = {"cniVersion": "1.0.0", "name": "jobs", "plugins": [bridge]}
    (shibafu.conf_dir / "10-jobs.conflist").write_text(dumps(chain))
    shibafu(f"network connect jobs {web.name}")


@pytest.mark.parametrize(("command", "fault"), BREAKAGES)
@pytest.mark.parametrize("is_early", [True, False])
def test_it_is_told(
    shibafu: CommandLine, host: Namespace, web: Namespace, command: str, fault: str, is_early: bool
) -> None:
    if is_early:
        connect(shibafu, web, is_healed=False)
    with Watched(shibafu) as watched:
        if not is_early:
            connect(shibafu, web, is_healed=False)
        web.run(*command.split())
        line = watched.wait_for(fault)
        assert line.startswith(f"network jobs: container {web.name}: ")
        assert line.endswith("; `shibafu network repair` restores it")
        settle()
        assert not any("healed" in line for line in watched.lines)
    faults = shibafu.json("network repair -n", status=1)["faults"]
    assert fault in [one["what"] for one in faults]


@pytest.mark.parametrize(("command", "fault"), BREAKAGES)
def test_it_is_healed_where_that_is_wanted(
    shibafu: CommandLine, host: Namespace, web: Namespace, command: str, fault: str
) -> None:
    connect(shibafu, web, is_healed=True)
    before = web.run("ip", "route")
    with Watched(shibafu) as watched:
        web.run(*command.split())
        assert "healed" in watched.wait_for(fault)
        wait_for(lambda: web.run("ip", "route") == before)
        assert shibafu.json("network repair -n")["faults"] == []


def test_other_links_of_a_container_are_its_own(shibafu: CommandLine, web: Namespace) -> None:
    connect(shibafu, web, is_healed=False)
    with Watched(shibafu) as watched:
        web.run("ip", "link", "add", "tunnel", "type", "bridge")
        web.run("ip", "addr", "add", "10.70.0.1/24", "dev", "tunnel")
        web.run("ip", "link", "del", "tunnel")
        settle()
        assert watched.lines == []
