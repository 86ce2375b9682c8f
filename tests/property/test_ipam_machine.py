"""Everything that can happen to a store, in any order: our verbs, host-local's, kills, reboots, hands."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from property.killing import Killed, Victim
from shibafu.cni import boot
from shibafu.cni.errors import NO_ADDRESS, TRY_AGAIN_LATER
from support.ipam import Ipam

POOL = [f"10.1.0.{n}" for n in range(2, 7)]  # 10.1.0.0/29 without network, gateway and broadcast
SECOND = ["10.2.0.2", "10.2.0.3"]
CONTAINERS = st.sampled_from(["a", "b", "c", "d"])
IFNAMES = st.sampled_from(["eth0", "eth1"])
STEPS = st.integers(0, 40)


class StoreMachine(RuleBasedStateMachine):
    """A small pool of two range sets, and a model: which address is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.root = Path(self.temporary.name)
        self.ipam = Ipam(
            self.root / "networks",
            {"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "10.2.0.0/29", "rangeEnd": "10.2.0.3"}]]},
        )
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(boot, "FILE", str(self.root / "boot_id"))
        self.boot = 0
        self.model: dict[str, str] = {}
        self.start_boot()

    def teardown(self) -> None:
        self.patch.undo()
        self.temporary.cleanup()

    def start_boot(self) -> None:
        self.boot += 1
        (self.root / "boot_id").write_text(f"00000000-0000-4000-8000-{self.boot:012}")
        boot.forget_boot_id()

    def owned(self, owner: str) -> set[str]:
        return {address for address, holder in self.model.items() if holder == owner}

    # Ours

    @rule(container=CONTAINERS, ifname=IFNAMES)
    def add(self, container: str, ifname: str) -> None:
        owner = f"{container}/{ifname}"
        duplicate = self.owned(owner) | self.owned(container)
        free = [set(pool) - set(self.model) for pool in (POOL, SECOND)]
        status, answer = self.ipam.call("ADD", container, ifname)
        if duplicate:
            assert status == 1
            assert "duplicate allocation" in answer["msg"] or answer["code"] == TRY_AGAIN_LATER
        elif all(free):
            assert status == 0, answer
            addresses = [ip["address"].partition("/")[0] for ip in answer["ips"]]
            assert [a in f for a, f in zip(addresses, free, strict=True)] == [True, True]
            self.model |= dict.fromkeys(addresses, owner)
        else:
            assert (status, answer["code"]) == (1, TRY_AGAIN_LATER)

    @rule(container=CONTAINERS, ifname=IFNAMES, address=st.sampled_from(POOL + SECOND))
    def add_requested(self, container: str, ifname: str, address: str) -> None:
        owner = f"{container}/{ifname}"
        other = SECOND if address in POOL else POOL
        held = self.owned(owner) | self.owned(container)
        status, answer = self.ipam.call("ADD", container, ifname, cni_args=f"IP={address}")
        if address not in self.model and not held & set(other) and set(other) - set(self.model):
            assert status == 0, answer
            addresses = {ip["address"].partition("/")[0] for ip in answer["ips"]}
            assert address in addresses
            assert not addresses & set(self.model)
            self.model |= dict.fromkeys(addresses, owner)
        else:
            assert status == 1
            assert answer["code"] in (NO_ADDRESS, TRY_AGAIN_LATER)

    @rule(container=CONTAINERS, ifname=IFNAMES)
    def delete(self, container: str, ifname: str) -> None:
        self.ipam.succeed("DEL", container, ifname)
        for address in self.owned(f"{container}/{ifname}") or self.owned(container):
            del self.model[address]

    @rule(container=CONTAINERS, ifname=IFNAMES)
    def check(self, container: str, ifname: str) -> None:
        held = self.owned(f"{container}/{ifname}") or self.owned(container)
        status, _ = self.ipam.call("CHECK", container, ifname)
        assert status == (0 if held & set(POOL) and held & set(SECOND) else 1)

    @rule()
    def status(self) -> None:
        is_free = set(POOL) - set(self.model) and set(SECOND) - set(self.model)
        assert self.ipam.call("STATUS")[0] == (0 if is_free else 1)

    @rule(valid=st.sets(st.tuples(CONTAINERS, IFNAMES)))
    def collect_garbage(self, valid: set[tuple[str, str]]) -> None:
        assert self.ipam.collect_garbage(*valid) == (0, None)
        # Leases of old versions are known by their container only.
        keep = {container for container, _ in valid}
        keep |= {f"{container}/{ifname}" for container, ifname in valid}
        self.model = {address: owner for address, owner in self.model.items() if owner in keep}

    # Killed

    @rule(container=CONTAINERS, ifname=IFNAMES, steps=STEPS, torn=st.booleans())
    def add_killed(self, container: str, ifname: str, steps: int, torn: bool) -> None:
        before = dict(self.model)
        self.die(steps, torn, "ADD", container, ifname)
        assert before.items() <= self.model.items()
        assert {self.model[address] for address in set(self.model) - set(before)} <= {f"{container}/{ifname}"}

    @rule(container=CONTAINERS, ifname=IFNAMES, steps=STEPS, torn=st.booleans())
    def delete_killed(self, container: str, ifname: str, steps: int, torn: bool) -> None:
        before = dict(self.model)
        self.die(steps, torn, "DEL", container, ifname)
        assert self.model.items() <= before.items()
        gone = {before[address] for address in set(before) - set(self.model)}
        assert gone <= {f"{container}/{ifname}", container}

    @rule(steps=STEPS, torn=st.booleans())
    def collect_garbage_killed(self, steps: int, torn: bool) -> None:
        before = dict(self.model)
        with Victim(steps, torn).doomed():
            try:
                self.ipam.collect_garbage()
            except Killed:
                pass
        self.model = self.read_leases()
        assert self.model.items() <= before.items()

    def die(self, steps: int, torn: bool, command: str, container: str, ifname: str) -> None:
        with Victim(steps, torn).doomed():
            try:
                self.ipam.call(command, container, ifname)
            except Killed:
                pass
        self.model = self.read_leases()

    # Others

    @rule(container=CONTAINERS, ifname=IFNAMES, address=st.sampled_from(POOL + SECOND), old=st.booleans())
    def foreign_add(self, container: str, ifname: str, address: str, old: bool) -> None:
        """What host-local does, and with `old` what its old versions did."""
        if address not in self.model and not (self.ipam.directory / address).exists():
            self.ipam.write_lease(address, container.encode() if old else f"{container}\r\n{ifname}".encode())
            number = 0 if address in POOL else 1
            self.ipam.write_lease(f"last_reserved_ip.{number}", address.encode())
            self.model[address] = container if old else f"{container}/{ifname}"

    @rule(address=st.sampled_from(POOL + SECOND))
    def foreign_delete(self, address: str) -> None:
        if self.model.pop(address, None) is not None:
            (self.ipam.directory / address).unlink()

    @rule(address=st.sampled_from(POOL + SECOND), container=CONTAINERS)
    def foreign_replace(self, address: str, container: str) -> None:
        """What DEL and ADD of host-local do between two of our calls."""
        if address in self.model:
            (self.ipam.directory / address).unlink()
            self.ipam.write_lease(address, f"{container}\r\neth0".encode())
            self.model[address] = f"{container}/eth0"

    @rule(address=st.sampled_from(POOL + SECOND))
    def foreign_killed(self, address: str) -> None:
        """What host-local leaves when it is killed between making a file and writing it."""
        if address not in self.model:
            self.ipam.write_lease(address, b"")

    @rule()
    def reboot(self) -> None:
        self.ipam.succeed("DEL", "unknown")  # so that all leases are of the boot that ends
        self.start_boot()
        self.model.clear()
        self.ipam.succeed("DEL", "unknown")

    @rule(steps=STEPS, torn=st.booleans())
    def reboot_killed(self, steps: int, torn: bool) -> None:
        """The first call after a reboot is killed while it reclaims."""
        self.ipam.succeed("DEL", "unknown")
        self.start_boot()
        self.die(steps, torn, "DEL", "unknown", "eth0")
        self.model.clear()
        self.ipam.succeed("DEL", "unknown")

    # What must be so after each step

    def read_leases(self) -> dict[str, str]:
        return {address: owner for address, owner in self.ipam.leases().items() if owner}

    @invariant()
    def nothing_is_lost_or_given_twice(self) -> None:
        assert self.read_leases() == self.model

    @invariant()
    def a_valid_index_says_what_the_leases_say(self) -> None:
        self.ipam.check_index()

    @invariant()
    def no_descriptor_stays_open(self) -> None:
        for name in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                continue  # the listing's own
            assert not target.startswith(str(self.root))


StoreMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestStore = StoreMachine.TestCase


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("verb", ["ADD", "DEL", "GC"])
@pytest.mark.parametrize("is_known", [True, pytest.param(False, marks=pytest.mark.long)])
def test_killed_at_every_step(tmp_path: Path, verb: str, torn: bool, is_known: bool) -> None:
    """Each instant of each verb, with a good index and with one that has to be made: nothing is ever lost."""
    steps = 0
    while True:
        pools = {"ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd00::/64"}]]}
        ipam = Ipam(tmp_path / str(steps), pools)
        for n in range(3):
            ipam.add(f"c{n}")
        if not is_known:
            os.utime(ipam.directory)
        victim = Victim(steps, torn)
        with victim.doomed():
            try:
                if verb == "GC":
                    ipam.collect_garbage(("c0", "eth0"))
                else:
                    ipam.call(verb, "new" if verb == "ADD" else "c1")
            except Killed:
                pass
        # The runtime goes on: it deletes what failed, and uses the pool to the last address.
        ipam.succeed("CHECK", "c0")
        ipam.succeed("DEL", "new")
        ipam.succeed("DEL", "c1")
        ipam.succeed("DEL", "c2")
        assert ipam.leases() == {"10.1.0.2": "c0/eth0", "fd00::2": "c0/eth0"}
        ipam.check_index()
        given = [ipam.add(f"n{n}") for n in range(4)]
        assert {addresses[0] for addresses in given} == {f"10.1.0.{n}" for n in range(3, 7)}
        assert ipam.fail("ADD", "n9")[0] == TRY_AGAIN_LATER
        if not victim.is_dead:
            break
        steps += 1
    assert steps > 5
