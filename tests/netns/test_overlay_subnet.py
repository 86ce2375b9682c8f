"""This host's own subnet: what CNI plugins are told of it, and what happens when another host takes it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.overlay_lab import OverlayHost, OverlayLab, wait_until
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
    shibafu("overlay rm 192.168.77.99")
    done = shibafu.json(f"overlay rejoin {second.name}")
    assert done == {"network": second.name, "done": True, "changed": False, "subnet": subnet, "subnet6": ""}


def test_rejoin_waits_for_the_agent(lab: OverlayLab, shibafu: CommandLine, web: Namespace) -> None:
    second = lab.hosts[1]
    shibafu(f"network connect blue {web.name}")
    subnet = take_subnet(lab, second)
    second.stop()
    rejoin = f"overlay rejoin {second.name} --new-subnet"
    assert "1 container of this host" in shibafu.fail(rejoin)
    assert not shibafu.json(f"{rejoin} --force")["done"]
    second.start()
    wait_until(lambda: second.read_state()["state"] == "joined", "another subnet")
    assert second.read_state()["subnet"] != subnet
    request = Path(f"/run/shibafu/overlay/{second.name}.rejoin")
    wait_until(lambda: not request.exists(), "the answer")


def test_rejoin_of_a_network_that_was_not_joined(shibafu: CommandLine, lab: OverlayLab) -> None:
    second = lab.hosts[1]
    second.stop()
    shibafu(f"overlay rm {second.address}")
    said = shibafu.fail(f"overlay rejoin {second.name}")
    assert f"this host has not joined {second.name} since it started" in said
