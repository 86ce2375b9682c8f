"""Three hosts with containers that are attached through conflists; one of them leaves and comes back."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, OverlayHost, OverlayLab, wait_until
from support.command import CommandLine
from support.namespaces import Namespace
from support.suite import Suite

pytestmark = pytest.mark.long


class Site:
    """A host, the command on it, and a container of its network `blue`.

    Args:
        suite: the plugins.
        host: the host.
        directory: for what the command and the plugins store.
        plugin: the name by which the plugin is called.
    """

    def __init__(self, suite: Suite, host: OverlayHost, directory: Path, plugin: str) -> None:
        self.host = host
        self.shibafu = CommandLine(suite, host.namespace, directory)
        self.container = Namespace(f"web{host.number}")
        self.addresses: list[str] = []
        config = {
            "cniVersion": "1.0.0",
            "name": "blue",
            "plugins": [
                {
                    "type": plugin,
                    "subnetFile": str(host.subnet_file),
                    "dataDir": str(directory / "flannel"),
                    "delegate": {"bridge": "br-blue", "isDefaultGateway": True},
                    "ipam": {"dataDir": str(directory / "leases")},
                }
            ],
        }
        (self.shibafu.conf_dir / "blue.conflist").write_text(json.dumps(config))

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *exception: object) -> None:
        self.shibafu.__exit__()
        self.container.delete()

    def connect(self) -> None:
        """Connect the container to the network."""
        answer = self.shibafu.json(f"network connect blue {self.container.name}")
        self.addresses = [ip["address"].partition("/")[0] for ip in answer["result"]["ips"]]
        assert [":" in address for address in self.addresses] == [False, True]

    def disconnect(self) -> None:
        """Disconnect it."""
        self.shibafu(f"network disconnect blue {self.container.name}")


@pytest.fixture(params=["shibafu-overlay", "flannel"])
def sites(request: pytest.FixtureRequest, suite: Suite, tmp_path: Path) -> Iterator[list[Site]]:
    """Three hosts, each with a container."""
    with ExitStack() as stack:
        lab = stack.enter_context(OverlayLab(tmp_path, network=DUAL_STACK))
        lab.start()
        made = [
            stack.enter_context(Site(suite, host, tmp_path / f"site{host.number}", request.param))
            for host in lab.hosts
        ]
        wait_until_routed(made)
        for site in made:
            site.connect()
        yield made


def wait_until_routed(sites: list[Site]) -> None:
    """Wait until each host has a route of both families to all others."""
    for site in sites:
        wanted = 2 * (len(sites) - 1)
        wait_until(lambda: site.host.count_routes() == wanted, site.host.name)  # noqa: B023


def ping_all(sites: list[Site]) -> None:
    """Have each container ping each other one, by both families."""
    for one, other in permutations(sites, 2):
        for address in other.addresses:
            one.container.run("ping", "-q", "-c1", "-w5", address)


def test_a_host_leaves_and_comes_back(sites: list[Site]) -> None:
    ping_all(sites)
    staying, leaving = sites[:2], sites[2]
    leaving.disconnect()
    leaving.host.stop()
    assert "delete the bridge" in leaving.host.command("rm", leaving.host.address)
    # It has the gateway's address of a subnet that may be another host's by now.
    leaving.host.namespace.run("ip", "link", "del", "br-blue")
    wait_until_routed(staying)
    ping_all(staying)
    with pytest.raises(AssertionError):
        staying[0].container.run("ping", "-q", "-c1", "-W1", leaving.addresses[0])
    leaving.host.start()
    wait_until_routed(sites)
    leaving.connect()
    ping_all(sites)
