"""`shibafu watch run` beside whatever an administrator orders, one thing after another."""

import random
from json import loads

import pytest

from netns.blue_network import BlueNetwork
from netns.watched import Watched, settle
from support.waiting import wait_for

STEPS = 10


class _Administrator:
    """Somebody who pauses, resumes, attaches, detaches and breaks things in an order of chance.

    Args:
        network: a network with its containers.
        seed: what chance depends on.

    Attributes:
        orders: what was ordered so far, to be shown by a failure.
    """

    def __init__(self, network: BlueNetwork, seed: int) -> None:
        self._network = network
        self._chance = random.Random(seed)
        self._attached = {network.web.name, network.db.name}
        self._is_paused = False
        self.orders: list[str] = []

    def go_on(self) -> None:
        """Order one thing, break everything perhaps, and see that only what is wanted is healed."""
        order = self._chance.choice(self._list_possible())
        self.orders.append(order)
        self._network.shibafu(f"network {order}")
        word, name = order.split()[0], order.split()[-1]
        if word == "connect":
            self._attached.add(name)
        elif word == "disconnect":
            self._attached.discard(name)
        # A pause ends with the last container.
        self._is_paused = (self._is_paused or word in ("pause", "down")) and word != "resume"
        self._is_paused = self._is_paused and bool(self._attached)
        if self._chance.random() < 0.6:
            self._break()
        if self._attached and not self._is_paused:
            wait_for(self._is_whole)
        else:
            self._stay()
        assert self._count_cables() == len(self._attached)

    def _list_possible(self) -> list[str]:
        containers = {self._network.web.name, self._network.db.name}
        possible = [f"connect blue {name}" for name in sorted(containers - self._attached)]
        possible += [f"disconnect blue {name}" for name in sorted(self._attached)]
        if self._attached:
            possible += ["resume blue"] * 2 if self._is_paused else ["pause blue"]
            possible += ["down blue"] if self._has_bridge() and not self._is_paused else []
        return possible

    def _break(self) -> None:
        self.orders.append("break")
        host = self._network.host
        if self._has_bridge():
            host.run("ip", "link", "del", "br-blue")
        host.run("nft", "flush", "ruleset")
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")

    def _stay(self) -> None:
        """See that all stays as it is."""
        before = self._read()
        settle()
        assert self._read() == before

    def _read(self) -> list[object]:
        """Return what is set on the host; the kernel notices a bridge's lost carrier only later."""
        host = self._network.host
        links = loads(host.run("ip", "-json", "link"))
        return [
            [(link["ifname"], "UP" in link["flags"], link.get("master")) for link in links],
            host.run("ip", "-oneline", "-4", "address"),
            host.run("nft", "--stateless", "list", "ruleset"),
            host.run("sysctl", "-n", "net.ipv4.ip_forward"),
        ]

    def _has_bridge(self) -> bool:
        return "br-blue" in self._network.host.run("ip", "link")

    def _is_whole(self) -> bool:
        process = self._network.shibafu.start("network", "repair", "--dry-run")
        process.communicate()
        return process.returncode == 0

    def _count_cables(self) -> int:
        return self._network.host.run("ip", "-brief", "link", "show", "type", "veth").count("\n")


@pytest.mark.long  # ten orders, after most of which nothing must happen for a while
@pytest.mark.parametrize("seed", range(4))
def test_what_an_administrator_orders_is_not_undone(network: BlueNetwork, seed: int) -> None:
    network.create()
    administrator = _Administrator(network, seed)
    with Watched(network.shibafu) as watched:
        try:
            for _ in range(STEPS):
                administrator.go_on()
        except Exception as error:
            error.add_note(f"after {administrator.orders}; the watcher: {watched.lines}")
            raise
        network.shibafu("network rm --force blue")
        settle()
        assert "br-blue" not in network.host.run("ip", "link")
        assert "blue" not in network.host.run("nft", "list", "ruleset")
    assert not (network.shibafu.records / "blue").exists()
