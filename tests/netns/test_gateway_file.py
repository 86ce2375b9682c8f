"""The file by which keepalived knows of a gateway that hosts share: when it comes, and when it goes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.gateway_lab import INCLUDE, GatewayHost, open_gateway_lab
from support.machine import Config
from support.suite import Suite
from support.waiting import wait_for

pytestmark = pytest.mark.long
# What keepalived logs.
RELOADED = "Reloading"
FIXED = {"10.7.0.1/24", "fd07::1/64"}


@pytest.fixture
def host(suite: Suite, tmp_path: Path) -> Iterator[GatewayHost]:
    """One of the hosts; keepalived does not run there yet."""
    with open_gateway_lab(suite, tmp_path) as lab:
        yield lab.hosts[0]


def _have_gateway_for_itself(host: GatewayHost) -> Config:
    """Return the network as it was before its gateway was shared."""
    keys = {"gatewayHA", "gatewayHostIP", "vrrpTrack"}
    return {key: value for key, value in host.config.items() if key not in keys}


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_gateway_stays_until_keepalived_can_have_it(host: GatewayHost, is_installed: bool) -> None:
    """Where a network with containers is to share its gateway from now on."""
    container = host.machine.container("c0")
    host.machine.add(_have_gateway_for_itself(host), "c0")
    if is_installed:
        host.main_file.write_text("# nothing\n")
        obstacle = "does not include the gateway of network net"
    else:
        host.hide_keepalived()
        obstacle = "keepalived is not installed"
    assert obstacle in host.machine.fail(host.config, "c1")["msg"]
    with host.make_command() as shibafu:
        if not is_installed:
            shibafu.mounts["/usr/sbin/keepalived"] = "/dev/null"
        assert obstacle in str(shibafu.json("network repair net", status=1))
    assert host.machine.addresses("br0") >= FIXED
    container.run("ping", "-c1", "-w5", "10.7.0.1")
    assert not host.file.exists()

    host.main_file.write_text(INCLUDE)
    host.show_keepalived()
    host.start_keepalived()
    host.add()
    assert not host.machine.addresses("br0") & FIXED
    assert host.machine.addresses("br0") >= set(host.config["gatewayHostIP"])
    wait_for(host.has_gateway)
    container.run("ping", "-c1", "-w5", "10.7.0.1")
    host.main_file.write_text("# nothing\n")
    assert "does not include" in host.machine.fail(host.config, "c2")["msg"]


def test_an_add_that_fails_leaves_the_file_of_others(host: GatewayHost) -> None:
    """One that was written before is still valid, though no container is here: others use the gateway."""
    host.start_keepalived()
    host.add()
    wait_for(host.has_gateway)
    host.machine.delete(host.config, "c1")
    before = host.file.read_text()
    other_gateway = host.machine.make_plugin("$REAL | sed 's/10.7.0.1\"/10.7.0.9\"/'")
    error = host.machine.fail(host.config, "c9", CNI_PATH=other_gateway)
    assert "gateway 10.7.0.9 is in none of the network's ranges" in error["msg"]
    assert host.file.read_text() == before
    host.refuse_by_keepalived()
    error = host.machine.fail(host.config | {"vrrpPriority": 7}, "c9")
    assert "keepalived refuses the gateway's configuration" in error["msg"]
    assert host.file.read_text() == before
    assert host.has_gateway()


def _kill_at_signal(host: GatewayHost, config: Config, number: int) -> None:
    """Have a call killed when it is about to tell keepalived for the n-th time."""
    if host.machine.suite.has_engine:
        pytest.skip("another process than the traced one does the call")
    inject = f"--inject=kill:signal=KILL:error=EPERM:when={number}"
    host.machine.prefix += ["/usr/bin/strace", "--quiet=all", "--output=/dev/null", "--trace=kill", inject]
    assert host.machine.call("ADD", config, "c9").status == -signal.SIGKILL
    host.show_keepalived()


def test_a_call_that_is_killed_before_it_tells_keepalived(host: GatewayHost) -> None:
    """The file is right by then, and keepalived does not know it."""
    host.start_keepalived()
    host.add()
    wait_for(host.has_gateway)
    _kill_at_signal(host, host.config | {"vrrpID": 7}, 1)
    assert "virtual_router_id 7\n" in host.file.read_text()
    host.config["vrrpID"] = 7
    said = "keepalived was not told to read /etc/keepalived/conf.d/shibafu-net.conf"
    assert said in host.machine.fail(host.config, "c1", command="CHECK")["msg"]
    before = host.read_log().count(RELOADED)
    host.machine.add(host.config, "c2")
    wait_for(lambda: host.read_log().count(RELOADED) > before)
    host.check()


def test_a_call_that_is_killed_before_keepalived_gives_a_gateway_up(host: GatewayHost) -> None:
    """The file is gone by then, and the next one to remove it tells keepalived."""
    host.start_keepalived()
    unreachable = {"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}
    _kill_at_signal(host, host.config | {"ipam": host.config["ipam"] | unreachable}, 2)
    assert not host.file.exists()
    wait_for(host.has_gateway)
    before = host.read_log().count(RELOADED)
    with host.make_command() as shibafu:
        shibafu("network rm -f net")
    wait_for(lambda: host.read_log().count(RELOADED) > before)
    assert not list(host.file.parent.iterdir())
