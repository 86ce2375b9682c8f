"""Many calls at the same moment, each a process of its own."""

import subprocess
from json import dumps, loads
from pathlib import Path

from support.ipam import LIVING_NETNS, Ipam
from support.suite import Suite


def call_together(program: Path, ipam: Ipam, command: str, containers: list[str]) -> list[str]:
    """Call the verb for all containers at once; return the answers of those that succeed."""
    calls = []
    for container in containers:
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": LIVING_NETNS,
            "CNI_PATH": str(program.parent),
        }
        calls.append(
            subprocess.Popen([program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    document = dumps(ipam.document())
    for process in calls:  # all of them wait for this
        assert process.stdin is not None
        process.stdin.write(document)
        process.stdin.close()
    answers = []
    for process in calls:
        assert process.stdout is not None
        answers.append(process.stdout.read())
        process.stdout.close()
        process.wait()
    return [a for process, a in zip(calls, answers, strict=True) if process.returncode == 0]


def test_forty_at_once(tmp_path: Path) -> None:
    program = Suite.of_sources(tmp_path).directory / "shibafu-ipam"
    ipam = Ipam(tmp_path / "networks")
    containers = [f"c{n}" for n in range(40)]
    answers = call_together(program, ipam, "ADD", containers)
    addresses = {loads(answer)["ips"][0]["address"] for answer in answers}
    assert addresses == {f"10.1.0.{n}/24" for n in range(2, 42)}
    assert sorted(ipam.leases().values()) == sorted(f"{container}/eth0" for container in containers)
    assert ipam.is_index_valid()
    ipam.check_index()

    assert len(call_together(program, ipam, "DEL", containers * 2)) == 80
    assert not ipam.leases()
    ipam.check_index()


def test_more_at_once_than_there_are_addresses(tmp_path: Path) -> None:
    program = Suite.of_sources(tmp_path).directory / "shibafu-ipam"
    ipam = Ipam(tmp_path / "networks", {"subnet": "10.1.0.0/28"})
    assert len(call_together(program, ipam, "ADD", [f"c{n}" for n in range(20)])) == 13
    assert len(ipam.leases()) == 13


def test_the_same_container_at_once_gets_one_address(tmp_path: Path) -> None:
    program = Suite.of_sources(tmp_path).directory / "shibafu-ipam"
    ipam = Ipam(tmp_path / "networks")
    assert len(call_together(program, ipam, "ADD", ["c1"] * 10)) == 1
    assert list(ipam.leases().values()) == ["c1/eth0"]
