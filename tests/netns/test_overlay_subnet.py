"""This host's own subnet: what CNI plugins are told of it, and what happens when another host takes it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.overlay_lab import OverlayHost, OverlayLab, wait_until
from shibafu.overlay.agent_state import signal_agent
from support.command import CommandLine
from support.namespaces import Namespace
from support.suite import Suite

pytestmark = pytest.mark.long


@pytest.fixture
def shibafu(lab: OverlayLab, suite: Suite, tmp_path: Path) -> Iterator[CommandLine]:
    """The command on the second host, with a network of containers."""
    second = lab.hosts[1]
    with CommandLine(suite, second.namespace, tmp_path / "command") as made:
        made.env["SHIBAFU_OVERLAY_CONFIG"] = str(second.config)
        plugin = {
            "type": "shibafu-overlay",
            "subnetFile": str(second.subnet_file),
            "dataDir": str(made.store / "flannel"),
            "delegate": {"bridge": "br-blue", "isDefaultGateway": True, "forceAddress": True},
            # Where the agent, too, has it: the command has a /var of its own.
            "ipam": {"dataDir": str(tmp_path / "leases")},
        }
        config = {"cniVersion": "1.1.0", "name": "blue", "plugins": [plugin]}
        (made.conf_dir / "blue.conflist").write_text(json.dumps(config))
        yield made


def take_subnet(lab: OverlayLab, host: OverlayHost) -> str:
    """Have another host take a host's subnet; return it."""
    wait_until(lambda: host.read_state()["state"] == "joined", "the state")
    subnet: str = host.read_state()["subnet"]
    lab.join_by_hand(subnet.removesuffix("/24"))
    wait_until(lambda: host.read_state()["state"] == "taken", "the loss")
    return subnet


def find_request(host: OverlayHost) -> Path:
    """Return what a host's agent is asked by."""
    return Path(f"/run/shibafu/overlay/{host.name}.rejoin")


def test_a_damaged_subnet_file_is_written_again(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    content = second.subnet_file.read_text()
    for damage in ("FLANNEL_MTU=many\n", "\xff\n"):
        second.subnet_file.write_text(damage)
        second.namespace.run("ip", "link", "set", "flannel.1", "down")
        wait_until(lambda: second.subnet_file.read_text() == content, "the file")
    assert "is missing FLANNEL_NETWORK" in second.read_log()
    second.subnet_file.unlink()
    second.subnet_file.mkdir()
    second.namespace.run("ip", "link", "set", "flannel.1", "down")
    wait_until(lambda: "Is a directory" in second.read_state()["trouble"], "the trouble")
    assert "is a directory, not a file" in second.read_log()
    second.subnet_file.rmdir()
    second.namespace.run("ip", "link", "set", "flannel.1", "down")
    wait_until(second.subnet_file.is_file, "the file")
    assert second.subnet_file.read_text() == content


def test_a_lost_subnet_is_kept_until_another_is_asked_for(
    lab: OverlayLab, shibafu: CommandLine, web: Namespace
) -> None:
    first, second = lab.hosts
    container = first.attach()
    shibafu(f"network connect blue {web.name}")
    subnet = take_subnet(lab, second)
    entries, content = second.list_entries(), second.subnet_file.read_text()
    rejoin = f"overlay rejoin {second.name}"
    assert f"{subnet}, this host's subnet, has been taken by the host 192.168.77.99" in shibafu.fail(rejoin)
    assert "has been taken" in shibafu.run("overlay", "doctor", status=1)[0]
    # An agent that starts finds the subnet taken, and keeps what containers have addresses of.
    second.stop(signal.SIGKILL)
    second.start()
    wait_until(lambda: second.read_state()["pid"] == second.find_agent(), "a start")
    wait_until(lambda: second.read_state()["state"] == "taken", "the loss")
    second.namespace.run("ip", "link", "del", "flannel.1")
    wait_until(lambda: second.list_entries() == entries, "the entries")
    assert second.subnet_file.read_text() == content
    refusal = shibafu.fail(f"{rejoin} --new-subnet")
    assert f"1 container of this host would be left behind in {subnet}: " in refusal
    assert second.read_state()["subnet"] == subnet
    shibafu(f"network disconnect blue {web.name}")
    done = shibafu.json(f"{rejoin} --new-subnet")
    assert done["changed"]
    assert done["done"]
    assert done["subnet"] not in (subnet, first.read_state()["subnet"])
    assert second.read_subnet().replace(".1/", ".0/") == done["subnet"]
    assert f"{subnet} via" in str(second.list_entries())
    wait_until(lambda: first.routes_to(second), "a route")
    shibafu(f"network connect blue {web.name}")
    address = web.run("ip", "-4", "-br", "addr", "show", "eth0").split()[2].partition("/")[0]
    container.run("ping", "-c1", "-w5", address)
    shibafu("network check blue")
    # It has its subnet now, and keeps it.
    assert not shibafu.json(f"{rejoin} --new-subnet")["changed"]


def test_a_lost_subnet_that_is_free_again(lab: OverlayLab, shibafu: CommandLine) -> None:
    second = lab.hosts[1]
    subnet = take_subnet(lab, second)
    (taker,) = [line for line in shibafu("overlay ls").splitlines() if subnet in line]
    assert "192.168.77.99" in taker
    assert "this host" not in taker
    shibafu("overlay rm 192.168.77.99")
    done = shibafu.json(f"overlay rejoin {second.name}")
    assert done == {"network": second.name, "done": True, "changed": False, "subnet": subnet, "subnet6": ""}


def test_rejoin_waits_for_the_agent(lab: OverlayLab, shibafu: CommandLine, web: Namespace) -> None:
    second = lab.hosts[1]
    shibafu(f"network connect blue {web.name}")
    subnet = take_subnet(lab, second)
    second.stop()
    rejoin = f"overlay rejoin {second.name}"
    assert not shibafu.json(rejoin)["done"]
    shibafu("overlay rm 192.168.77.99")
    second.start()
    wait_until(lambda: not find_request(second).exists(), "the answer")
    assert second.read_state()["state"] == "joined"
    assert second.read_state()["subnet"] == subnet


def test_another_subnet_needs_the_agent(lab: OverlayLab, shibafu: CommandLine) -> None:
    """Until it starts, containers may get addresses of the lost one."""
    second = lab.hosts[1]
    subnet = take_subnet(lab, second)
    second.stop()
    for force in ("", " --force"):
        refusal = shibafu.fail(f"overlay rejoin {second.name} --new-subnet{force}")
        assert "the agent is not running" in refusal
        assert "start it first" in refusal
        assert not find_request(second).exists()
    # As of one that was killed before it could do it.
    find_request(second).write_text('{"newSubnet": true}')
    second.start()
    wait_until(lambda: "has to be asked for again" in second.read_log(), "the refusal")
    wait_until(lambda: second.read_state()["pid"] == second.find_agent(), "a start")
    wait_until(lambda: second.read_state()["state"] == "taken", "the loss")
    assert second.read_state()["subnet"] == subnet
    assert not find_request(second).exists()


def test_another_subnet_is_not_got_later(lab: OverlayLab, shibafu: CommandLine) -> None:
    """Where etcd is away while it is asked for, containers may get addresses of the lost one meanwhile."""
    second = lab.hosts[1]
    subnet = take_subnet(lab, second)
    lab.etcd.stop()
    assert "ask again later" in shibafu.fail(f"overlay rejoin {second.name} --new-subnet")
    assert not find_request(second).exists()
    lab.etcd.start()
    wait_until(lambda: second.read_state()["trouble"].startswith(subnet), "etcd")
    time.sleep(1)  # nothing more comes of it
    assert second.read_state()["subnet"] == subnet
    assert shibafu.json(f"overlay rejoin {second.name} --new-subnet")["changed"]


def test_another_subnet_is_not_got_after_the_command_is_killed(lab: OverlayLab, shibafu: CommandLine) -> None:
    second = lab.hosts[1]
    subnet, content = take_subnet(lab, second), second.subnet_file.read_text()
    lab.etcd.stop()
    with shibafu.start("overlay", "rejoin", second.name, "--new-subnet") as process:
        wait_until(lambda: find_request(second).exists(), "the request")
        wait_until(lambda: not second.subnet_file.exists(), "the subnet file's end")
        process.kill()
        process.wait()
    lab.etcd.start()
    wait_until(lambda: not find_request(second).exists(), "the removal")
    wait_until(second.subnet_file.exists, "the subnet file")
    time.sleep(1)  # nothing more comes of it
    assert second.read_state()["subnet"] == subnet
    assert second.subnet_file.read_text() == content
    # One that it finds later, by which nobody waits any more.
    find_request(second).write_text('{"newSubnet": true}')
    os.kill(second.find_agent(), signal.SIGUSR1)
    wait_until(lambda: not find_request(second).exists(), "the removal")
    assert "by a command that has ended" in second.read_log()
    assert second.read_state()["subnet"] == subnet


def test_containers_that_come_while_another_subnet_is_asked_for(
    lab: OverlayLab, shibafu: CommandLine, web: Namespace
) -> None:
    second = lab.hosts[1]
    subnet = take_subnet(lab, second)
    lab.etcd.stop()
    with shibafu.start("overlay", "rejoin", second.name, "--new-subnet") as process:
        wait_until(lambda: not second.subnet_file.exists(), "the subnet file's end")
        # A runtime tries again later.
        assert "subnet.env" in shibafu.fail(f"network connect blue {web.name}")
        # A call that has begun before has an address now.
        store = Path(json.loads(find_request(second).read_text())["stores"][0])
        store.mkdir(parents=True, exist_ok=True)
        (store / subnet.replace(".0/24", ".9")).write_text("early\r\neth0")
        lab.etcd.start()
        said = "".join(part or "" for part in process.communicate(timeout=30))
        assert process.returncode == 1
    assert f"1 container of this host would be left behind in {subnet}: early" in said
    assert second.read_state()["subnet"] == subnet
    shibafu(f"network connect blue {web.name}")
    assert subnet.removesuffix("0/24") in web.run("ip", "-4", "-br", "addr", "show", "eth0")
    shibafu(f"network disconnect blue {web.name}")


def test_a_request_is_answered_once_the_state_is_written(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["state"] == "joined", "the state")
    state = Path(f"/run/shibafu/overlay/{second.name}.json")
    state.unlink()
    state.mkdir()
    try:
        find_request(second).write_text('{"newSubnet": false}')
        os.kill(second.find_agent(), signal.SIGUSR1)
        wait_until(lambda: "state cannot be written" in second.read_log(), "the failure")
        time.sleep(0.5)
        assert find_request(second).exists()
    finally:
        state.rmdir()
    wait_until(lambda: not find_request(second).exists(), "the answer")
    assert second.read_state()["state"] == "joined"


def test_a_damaged_request_is_removed(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["state"] == "joined", "the state")
    for damage in (b"{", b"[]", b"\xff"):
        find_request(second).write_bytes(damage)
        os.kill(second.find_agent(), signal.SIGUSR1)
        wait_until(lambda: not find_request(second).exists(), "the removal", 10)
    assert second.read_log().count("is damaged, and removed") == 3


def test_a_state_that_goes_while_the_agent_is_asked(lab: OverlayLab, shibafu: CommandLine) -> None:
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["state"] == "joined", "the state")
    os.kill(second.find_agent(), signal.SIGSTOP)
    process = shibafu.start("overlay", "rejoin", second.name)
    wait_until(lambda: find_request(second).exists(), "the request")
    Path(f"/run/shibafu/overlay/{second.name}.json").unlink()
    find_request(second).unlink()
    said = "".join(part or "" for part in process.communicate(timeout=20))
    assert f"the agent's state of {second.name} has been removed meanwhile" in said
    assert process.returncode == 1


def test_a_process_that_has_the_number_of_an_earlier_agent(lab: OverlayLab) -> None:
    """It is not signalled, by which it would end; whether another agent runs does not matter."""
    second = lab.hosts[1]
    wait_until(lambda: second.read_state()["state"] == "joined", "the state")
    os.kill(second.find_agent(), signal.SIGSTOP)
    state = Path(f"/run/shibafu/overlay/{second.name}.json")
    content = state.read_text()
    stranger = subprocess.Popen(["ip", "netns", "exec", second.namespace.name, "sleep", "60"])
    try:
        state.write_text(json.dumps(json.loads(content) | {"pid": stranger.pid}))
        comm = Path(f"/proc/{stranger.pid}/comm")
        wait_until(lambda: comm.read_text() == "sleep\n", "its start")
        with second.namespace.enter():
            assert not signal_agent(second.name, signal.SIGUSR1)
        time.sleep(0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    state.write_text(content)
    with second.namespace.enter():
        assert signal_agent(second.name, signal.SIGUSR1)


def test_rejoin_of_a_network_that_was_not_joined(shibafu: CommandLine, lab: OverlayLab) -> None:
    second = lab.hosts[1]
    second.stop()
    shibafu(f"overlay rm {second.address}")
    said = shibafu.fail(f"overlay rejoin {second.name}")
    assert f"this host has not joined {second.name} since it started" in said
