"""Containers of a laboratory's host, attached by shibafu-overlay as the host's agent has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns.overlay_lab import OverlayHost, OverlayLab
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.suite import Suite


class AttachedContainers(Machine):
    """The containers of a host; its plugin is shibafu-overlay.

    Args:
        suite: the plugins.
        host: the host, whose agent has joined.
        directory: for what the plugins store.
    """

    def __init__(self, suite: Suite, host: OverlayHost, directory: Path) -> None:
        super().__init__(suite, host.namespace, directory)
        self.plugin = suite.directory / "shibafu-overlay"
        self.overlay: Config = {
            "cniVersion": "1.1.0",
            "name": host.name,
            "type": "shibafu-overlay",
            "subnetFile": str(host.subnet_file),
            "dataDir": str(directory / "sent"),
            "delegate": {"bridge": "br0", "isDefaultGateway": True},
            "ipam": {"dataDir": str(self.data_dir)},
        }

    def attach(self, name: str) -> tuple[Namespace, str]:
        """Attach a container; return it and its address."""
        result = self.add(self.overlay, name)
        return self.container(name), result["ips"][0]["address"].partition("/")[0]


@contextmanager
def containers_of(suite: Suite, lab: OverlayLab, directory: Path) -> Iterator[list[AttachedContainers]]:
    """The containers of each host, which are deleted in the end."""
    made = [AttachedContainers(suite, host, directory / f"containers{host.number}") for host in lab.hosts]
    try:
        yield made
    finally:
        for containers in made:
            containers.close()
