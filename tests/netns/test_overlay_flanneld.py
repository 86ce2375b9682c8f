"""One of three hosts is run by flanneld: the environment variable FLANNELD names the executable."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, OverlayHost, OverlayLab, wait_until
from support.pings import Pings

FLANNELD = os.environ.get("FLANNELD", "")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FLANNELD, reason="the environment variable FLANNELD names no flanneld"),
]


@contextmanager
def flanneld_on(host: OverlayHost, lab: OverlayLab) -> Iterator[None]:
    """Have flanneld be a host's agent, and wait until it has written the subnet file."""
    host.subnet_file.unlink(missing_ok=True)
    log = lab.directory / f"{host.number}.flanneld"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", host.namespace.name, FLANNELD, f"-etcd-endpoints={lab.urls[0]}"),
                *("-iface=eth0", f"-subnet-file={host.subnet_file}"),
            ],
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: process.poll() is not None or host.subnet_file.exists(), "its subnet file", 60)
        assert process.poll() is None
        yield
    finally:
        process.kill()
        process.wait()
        print(f"--- flanneld of host {host.number}\n{log.read_text()}")


def test_flanneld_and_two_agents(tmp_path: Path) -> None:
    """Containers of all hosts reach each other over both families; then the host changes to our agent."""
    with OverlayLab(tmp_path, 3, DUAL_STACK) as lab:
        first, second, third = lab.hosts
        for host in (first, second):
            host.start()
        with flanneld_on(third, lab):
            lab.wait_until_joined()
            containers = [host.attach() for host in lab.hosts]
            for key, family in (("FLANNEL_SUBNET", "-4"), ("FLANNEL_IPV6_SUBNET", "-6")):
                for container in containers:
                    for host in lab.hosts:
                        container.run("ping", family, "-c1", "-w10", host.calc_container(key))
            subnet, keys = third.read_subnet(), lab.list_keys().keys()
            # A host that leaves and comes back, as flanneld sees it.
            second.stop()
            second.command("rm", second.address)
            wait_until(lambda: not third.routes_to(second), "no route")
            second.start()
            wait_until(lambda: bool(second.read_subnet()) and third.routes_to(second), "a route", 30)
        with Pings(containers[0], third.calc_container()) as pings:
            third.start()
            wait_until(lambda: third.read_state().get("state") == "joined", "join", 30)
            wait_until(lambda: third.read_state().get("hosts") == 3, "all hosts")
            lab.wait_until_joined()
        assert (third.read_subnet(), len(lab.list_keys())) == (subnet, len(keys))
        # Its device gets another MAC, which the others are told of.
        assert pings.lost < 50
