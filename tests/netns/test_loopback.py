"""shibafu-loopback beside the reference's loopback: answers, and what a container's programs can do."""

import socket
import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from support.namespaces import Namespace
from support.suite import Suite

pytestmark = pytest.mark.root

REFERENCE = Path("/usr/lib/cni/loopback")
VERSIONS = ("0.3.1", "0.4.0", "1.0.0")


@pytest.fixture
def container() -> Iterator[Namespace]:
    """A namespace as `ip netns add` makes it."""
    with Namespace("container") as made:
        made.run("ip", "link", "set", "lo", "down")
        yield made


@pytest.fixture
def plugin(suite: Suite) -> Path:
    return suite.directory / "shibafu-loopback"


def call(plugin: Path, verb: str, netns: str, status: int = 0, **config: object) -> Any:
    """Make a call; return what it answered."""
    document = {"cniVersion": "1.0.0", "name": "loopback", "type": "loopback"} | config
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(plugin.parent),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    done = subprocess.run(
        [plugin], env=env, input=dumps(document).encode(), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (status, b""), done.stdout
    return loads(done.stdout) if done.stdout else None


def reaches_itself(container: Namespace) -> list[bool]:
    """Return whether programs reach each other, by family."""
    reached = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with container.enter(), socket.socket(family) as server, socket.socket(family) as client:
            try:
                server.bind((address, 0))
                server.listen()
                client.settimeout(1)
                client.connect(server.getsockname()[:2])
                reached.append(True)
            except OSError:
                reached.append(False)
    return reached


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_the_reference_s(plugin: Path, container: Namespace, version: str) -> None:
    answers = []
    for which in (REFERENCE, plugin):
        answers.append(call(which, "ADD", container.path, cniVersion=version))
        assert reaches_itself(container) == [True, True]
        if version != "0.3.1":
            assert call(which, "CHECK", container.path, cniVersion=version, prevResult=answers[-1]) is None
        assert call(which, "DEL", container.path, cniVersion=version) is None
        assert reaches_itself(container) == [False, False]
    reference, own = answers
    # The versions before 1.0 want the family of each address, which the reference forgets.
    assert [ip.pop("version", None) for ip in own["ips"]] == (["4", "6"] if version < "1.0" else [None] * 2)
    assert {key: value for key, value in own.items() if value} == {
        key: value for key, value in reference.items() if value
    }


def test_behind_others_it_passes_their_result_on(plugin: Path, container: Namespace) -> None:
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": container.path}],
        "ips": [{"interface": 0, "address": "10.1.0.5/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.0.1"]},
    }
    assert call(plugin, "ADD", container.path, prevResult=previous) == previous
    assert call(REFERENCE, "ADD", container.path, prevResult=previous) == previous
    assert reaches_itself(container) == [True, True]


def test_check_names_an_interface_that_is_down(plugin: Path, container: Namespace) -> None:
    call(plugin, "ADD", container.path)
    container.run("ip", "link", "set", "lo", "down")
    for which in (REFERENCE, plugin):
        assert "down" in call(which, "CHECK", container.path, status=1)["msg"]


def test_an_address_that_is_no_loopback_one_is_refused(plugin: Path, container: Namespace) -> None:
    container.run("ip", "address", "add", "10.1.0.5/24", "dev", "lo")
    said = [call(which, "ADD", container.path, status=1)["msg"] for which in (REFERENCE, plugin)]
    assert said[0] == said[1]


@pytest.mark.parametrize("netns", ["", "/run/netns/shibafu-no-such"])
def test_del_needs_no_namespace(plugin: Path, netns: str) -> None:
    assert call(plugin, "DEL", netns) is None


def test_add_needs_one(plugin: Path) -> None:
    error = call(plugin, "ADD", "/run/netns/shibafu-no-such", status=1)
    assert error["code"] == 4
    assert "CNI_NETNS" in error["details"]
