"""Networks that are isolated and one that is not, and who reaches whom."""

from concurrent.futures import ThreadPoolExecutor
from json import loads

from shibafu.cni.names import ISOLATED_GROUP, NETWORK_GROUPS, OPEN
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.traffic import can_reach

GROUP, OPEN_GROUP = str(ISOLATED_GROUP), str(NETWORK_GROUPS[OPEN])
# Addresses of the first container of each network.
BLUE, GREEN, PLAIN, GOLD, OLD = ({4: f"10.{n}.0.2", 6: f"fd00:{n}::2"} for n in (10, 20, 30, 40, 60))


class Networks:
    """Two isolated networks and one that is not, with the containers c1, c2 and c3.

    Args:
        machine: the host.
        backend: what their rules are made with.
    """

    def __init__(self, machine: Machine, backend: str) -> None:
        self.machine = machine
        self.backend = backend
        self.blue = self.config("blue", 10, isolate=True)
        self.green = self.config("green", 20, isolate=True)
        self.plain = self.config("plain", 30)
        self.all = {"c1": self.blue, "c2": self.green, "c3": self.plain}

    def config(self, name: str, number: int, **keys: object) -> Config:
        """Return a dual-stack NAT network."""
        subnets = f"10.{number}.0.0/24", f"fd00:{number}::/64"
        keys = {"name": name, "bridge": f"br{number}", "ipMasqBackend": self.backend} | keys
        return self.machine.config(*subnets, **keys)

    def attach(self) -> tuple[Namespace, ...]:
        """Attach the containers and return them."""
        for name, config in self.all.items():
            self.machine.add(config, name)
            self.machine.check(config, name)
        return tuple(map(self.machine.container, self.all))

    def delete(self) -> None:
        """Detach them; nothing is left."""
        for name, config in self.all.items():
            self.machine.delete(config, name)
        assert_no_rules(self.machine)

    def drops(self) -> int:
        """Return how many rules keep networks apart."""
        listed = self.machine.host.run("nft", "list", "ruleset") if self.backend == "nftables" else ""
        return listed.count(f"oifgroup {GROUP} ct state") + "\n".join(self.machine.rules()).count("devgroup")

    def flush(self) -> None:
        """Lose all rules, as an administrator or a reload does it."""
        if self.backend == "nftables":
            self.machine.host.run("nft", "flush", "ruleset")
            return
        for family in ("iptables", "ip6tables"):
            for arguments in ("-F", "-X", "-t nat -F", "-t nat -X"):
                self.machine.iptables(arguments, family=family)


def are_apart(
    first: Namespace,
    second: Namespace,
    own: dict[int, str] = BLUE,
    others: dict[int, str] = GREEN,
) -> bool:
    """Return whether containers of blue and of green cannot reach each other at all; False if they can."""
    ways = [
        (server, addresses[version], client)
        for version in (4, 6)
        for server, addresses, client in ((first, own, second), (second, others, first))
    ]
    # All at once: each waits for what must not arrive.
    with ThreadPoolExecutor(len(ways)) as pool:
        reached = list(pool.map(can_reach, *zip(*ways, strict=True)))
    assert len(set(reached)) == 1, reached
    return not reached[0]


def group(machine: Machine, link: str) -> str:
    (shown,) = loads(machine.host.run("ip", "-j", "link", "show", link))
    return str(shown["group"])
