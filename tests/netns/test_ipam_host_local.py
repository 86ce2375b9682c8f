"""shibafu-ipam and the reference's host-local on one store: each honours what the other does."""

import random
import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from support.ipam import Ipam
from support.namespaces import Namespace
from support.suite import Suite

REFERENCE = Path("/usr/lib/cni/host-local")  # Debian's containernetworking-plugins

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason="containernetworking-plugins is not installed")


class Store(Ipam):
    """A network, and both programs as processes. Neither of them sees anything but the store."""

    ours: Path
    netns: str

    def start(
        self,
        program: Path,
        command: str,
        container: str,
        ifname: str = "eth0",
        cni_args: str = "",
        **config: object,
    ) -> "subprocess.Popen[str]":
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": ifname,
            "CNI_NETNS": self.netns,
            "CNI_PATH": str(REFERENCE.parent),
            "CNI_ARGS": cni_args,
        }
        process = subprocess.Popen(
            [program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(dumps(self.document(**config)))
        process.stdin.close()
        return process

    def finish(self, process: "subprocess.Popen[str]") -> tuple[int, Any]:
        assert process.stdout is not None
        with process.stdout as stdout:
            answer = stdout.read()
        return process.wait(), loads(answer) if answer else None

    def execute(
        self, program: Path, command: str, container: str, cni_args: str = "", **config: Any
    ) -> tuple[int, Any]:
        return self.finish(self.start(program, command, container, cni_args=cni_args, **config))


@pytest.fixture
def store(suite: Suite, tmp_path: Path) -> Iterator[Store]:
    """A store in the version that Debian's host-local speaks."""
    with Namespace("container") as container:
        made = Store(tmp_path / "networks", config={"cniVersion": "1.0.0"})
        made.ours = suite.directory / "host-local"
        made.netns = str(container.path)
        yield made


def get_address(answer: tuple[int, Any]) -> str:
    assert answer[0] == 0, answer
    return str(answer[1]["ips"][0]["address"].partition("/")[0])


@pytest.mark.parametrize("is_first_ours", [True, False])
def test_leases_of_the_other_are_honoured_checked_and_released(store: Store, is_first_ours: bool) -> None:
    one, other = (store.ours, REFERENCE) if is_first_ours else (REFERENCE, store.ours)
    assert get_address(store.execute(one, "ADD", "c1")) == "10.1.0.2"
    assert get_address(store.execute(other, "ADD", "c2")) == "10.1.0.3"
    refused = [store.execute(program, "ADD", "c1") for program in (one, other)]
    assert {answer["msg"] for _, answer in refused} == {
        "failed to allocate for range 0: 10.1.0.2 has been allocated to c1, "
        "duplicate allocation is not allowed"
    }
    taken = [store.execute(program, "ADD", "c3", "IP=10.1.0.2") for program in (one, other)]
    assert {answer["msg"] for _, answer in taken} == {
        "failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set "
        "10.1.0.1-10.1.0.254"
    }
    for container in ("c1", "c2"):
        assert store.execute(one, "CHECK", container) == (0, None)
        assert store.execute(other, "CHECK", container) == (0, None)
    assert store.execute(other, "DEL", "c1") == (0, None)
    missing = [store.execute(program, "CHECK", "c1") for program in (one, other)]
    assert {answer["msg"] for _, answer in missing} == {
        "host-local: Failed to find address added by container c1"
    }
    assert get_address(store.execute(one, "ADD", "c3")) == "10.1.0.4"
    assert store.execute(one, "DEL", "c2") == (0, None)
    assert store.leases() == {"10.1.0.4": "c3/eth0"}
    store.check_index()


def test_any_order(store: Store) -> None:
    """Both programs by turns at random, in a pool that is often exhausted."""
    store.section["subnet"] = "10.1.0.0/28"  # 13 addresses
    dice = random.Random(1)
    model: dict[str, str] = {}
    for step in range(150):
        program = dice.choice([store.ours, REFERENCE])
        container = f"c{dice.randrange(18)}"
        held = [address for address, owner in model.items() if owner == container]
        if dice.random() < 0.6:
            status, answer = store.execute(program, "ADD", container)
            assert (status == 0) == (not held and len(model) < 13), (step, answer)
            if status == 0:
                address = get_address((status, answer))
                assert address not in model
                model[address] = container
        else:
            assert store.execute(program, "DEL", container) == (0, None)
            for address in held:
                del model[address]
        assert store.leases() == {address: f"{owner}/eth0" for address, owner in model.items()}
        store.check_index()


def test_both_at_once(store: Store) -> None:
    containers = [f"c{n}" for n in range(60)]
    started = [
        store.start(store.ours if n % 2 else REFERENCE, "ADD", container)
        for n, container in enumerate(containers)
    ]
    addresses = [get_address(store.finish(process)) for process in started]
    assert sorted(addresses) == sorted(f"10.1.0.{n}" for n in range(2, 62))
    started = [
        store.start(REFERENCE if n % 2 else store.ours, "DEL", container)
        for n, container in enumerate(containers)
    ]
    assert [store.finish(process) for process in started] == [(0, None)] * 60
    assert not store.leases()
    store.check_index()


R: dict[str, object] = {"subnet": "10.1.0.0/24"}
R2: dict[str, object] = {"subnet": "10.2.0.0/24"}
R6: dict[str, object] = {"subnet": "fd00::/64"}

# (the ipam section, other keys of the configuration, CNI_ARGS)
CASES: list[tuple[dict[str, object], dict[str, object], str]] = [
    (R, {}, ""),
    (R6, {}, ""),
    ({"ranges": [[R], [R6]]}, {}, ""),
    (R | {"ranges": [[R2], [R6]]}, {"runtimeConfig": {"ipRanges": [[{"subnet": "10.3.0.0/24"}]]}}, ""),
    ({"ranges": [[R2, R]]}, {}, ""),
    (R | {"rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.21", "gateway": "10.1.0.20"}, {}, ""),
    (R | {"gateway": "10.9.0.1"}, {}, ""),
    (R | {"gateway": "fd00::1"}, {}, ""),
    (R | {"rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.255"}, {}, ""),
    (R | {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.8.7/8", "gw": "10.1.0.9"}]}, {}, ""),
    (R | {"resolvConf": "/etc/resolv.conf"}, {}, ""),
    (R, {"cniVersion": "0.4.0"}, ""),
    (R, {"cniVersion": "0.3.1"}, ""),
    ({"ranges": [[R], [R6]]} | {"routes": [{"dst": "::/0"}]}, {"cniVersion": "0.2.0"}, ""),
    ({"ranges": [[R], [R6]]}, {"cniVersion": "0.1.0"}, ""),
    ({"ranges": [[R], [R2]]}, {"cniVersion": "0.2.0"}, ""),
    (R, {}, "IP=10.1.0.9"),
    (R, {}, "IP=10.1.0.9/16"),
    (R, {}, "IgnoreUnknown=1;K8S_POD_NAME=b;IP=10.1.0.77"),
    (R, {}, "IP=10.1.0.1"),
    (R, {}, "IP=10.2.0.1"),
    (R, {}, "IP=zz"),
    (R, {}, "ip=10.1.0.9"),
    (R, {"args": {"cni": {"ips": ["10.1.0.9"]}}}, ""),
    (R, {"runtimeConfig": {"ips": ["10.1.0.9/24"]}}, "IP=10.1.0.9"),
    ({"ranges": [[R], [R2]]}, {"runtimeConfig": {"ips": ["10.2.0.9"]}}, "IP=10.1.0.8"),
    (R, {"runtimeConfig": {"ips": ["bogus"]}}, ""),
    ({}, {}, ""),
    ({"subnet": "bogus"}, {}, ""),
    ({"subnet": ""}, {}, ""),
    ({"subnet": "10.1.0.0"}, {}, ""),
    ({"subnet": "10.1.0.0/33"}, {}, ""),
    ({"subnet": "10.1.0.0/31"}, {}, ""),
    ({"subnet": "10.1.0.5/24"}, {}, ""),
    ({"subnet": "fd00::1/64"}, {}, ""),
    ({"ranges": [[]]}, {}, ""),
    ({"ranges": [[{}]]}, {}, ""),
    ({"ranges": [[R, R6]]}, {}, ""),
    ({"ranges": [[R, {"subnet": "10.1.0.0/16"}]]}, {}, ""),
    ({"ranges": [[R], [R]]}, {}, ""),
    (R | {"rangeStart": "bogus"}, {}, ""),
    (R | {"rangeStart": "10.2.0.1"}, {}, ""),
    (R | {"rangeEnd": "10.2.0.1"}, {}, ""),
    (R | {"rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.3"}, {}, ""),
    (R | {"gateway": "zz"}, {}, ""),
    (R | {"routes": [{"dst": "zz"}]}, {}, ""),
    (R | {"resolvConf": "/nonexistent"}, {}, ""),
]


@pytest.mark.parametrize(("ipam", "config", "cni_args"), CASES)
def test_the_same_answers(
    store: Store, ipam: dict[str, object], config: dict[str, object], cni_args: str, tmp_path: Path
) -> None:
    """Three ADDs of each, to a store of its own: the same results and leases, or the same messages."""
    outcomes = []
    for name, program in (("reference", REFERENCE), ("ours", store.ours)):
        own = Store(tmp_path / name, ipam, store.config)
        own.netns = store.netns
        answers = []
        for container in ("c1", "c2", "c3"):
            status, answer = own.execute(program, "ADD", container, cni_args, **config)
            if answer.get("cniVersion") == "1.0.0" and answer.get("dns") == {}:
                del answer["dns"]  # old releases print it empty, newer ones and ours leave it out
            answers.append(answer if status == 0 else answer["msg"])
        outcomes.append((answers, own.leases()))
    assert outcomes[0] == outcomes[1]
