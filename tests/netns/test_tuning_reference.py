"""shibafu-tuning beside the reference's: the same answers, the same changes, the same words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from json import dumps, loads
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from netns.tuned import CHANGES, MAC, OTHER_MAC, Answer, Config, Container
from support.suite import Suite

pytestmark = pytest.mark.root

REFERENCE = Path("/usr/lib/cni/tuning")


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path / "tuning")
    yield made
    made.close()


@pytest.fixture
def plugin(suite: Suite) -> Path:
    return suite.directory / "shibafu-tuning"


@dataclass(frozen=True)
class Case:
    """A configuration that both programs take alike.

    Args:
        name: what the test is called.
        config: its keys.
        changed: what it changes of the container.
        args: CNI_ARGS.
    """

    name: str
    config: Mapping[str, Any]
    changed: Mapping[str, object]
    args: str = ""


CASES = (
    Case("nothing", {}, {}),
    Case("mac", {"mac": MAC}, {"mac": MAC}),
    Case("mtu", {"mtu": 1400}, {"mtu": 1400}),
    Case("mtu-0", {"mtu": 0}, {}),
    Case("promisc", {"promisc": True}, {"promisc": True}),
    Case("promisc-false", {"promisc": False}, {}),
    Case("allmulti", {"allmulti": True}, {"allmulti": True}),
    Case("allmulti-false", {"allmulti": False}, {}),
    Case("sysctl", {"sysctl": {"net.core.somaxconn": "77"}}, {"somaxconn": "77"}),
    Case("sysctl-with-slashes", {"sysctl": {"net/core/somaxconn": "77"}}, {"somaxconn": "77"}),
    Case("sysctl-null", {"sysctl": None}, {}),
    Case(
        "all",
        {"mac": MAC, "mtu": 1400, "promisc": True, "allmulti": True, "sysctl": {"net.core.somaxconn": "77"}},
        {"mac": MAC, "mtu": 1400, "promisc": True, "allmulti": True, "somaxconn": "77"},
    ),
    Case("capitals", {"MTU": 1400, "Promisc": True}, {"mtu": 1400, "promisc": True}),
    Case("mac-of-args", {"mac": OTHER_MAC}, {"mac": MAC}, args=f"MAC={MAC}"),
    Case(
        "mac-of-runtime",
        {"mac": OTHER_MAC, "runtimeConfig": {"mac": MAC}},
        {"mac": MAC},
        args=f"IgnoreUnknown=1;MAC={OTHER_MAC};K8S_POD_NAME=a",
    ),
    Case(
        "mac-of-args.cni",
        {"mac": OTHER_MAC, "runtimeConfig": {"mac": OTHER_MAC}, "args": {"cni": {"mac": MAC}}},
        {"mac": MAC},
        args=f"MAC={OTHER_MAC}",
    ),
    Case("no-mac-of-args.cni", {"mac": OTHER_MAC, "args": {"cni": {"mac": ""}}}, {}),
    Case(
        "args.cni",
        {
            "mtu": 1300,
            "promisc": True,
            "allmulti": False,
            "sysctl": {"net.core.somaxconn": "66"},
            "args": {
                "cni": {
                    "mtu": 1400,
                    "promisc": False,
                    "allmulti": True,
                    "sysctl": {"net.core.somaxconn": "77"},
                }
            },
        },
        {"mtu": 1400, "allmulti": True, "somaxconn": "77"},
    ),
    Case("args.cni-null", {"mtu": 1400, "args": {"cni": {"mtu": None, "mac": None}}}, {"mtu": 1400}),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_does_what_the_reference_does(plugin: Path, tmp_path: Path, case: Case) -> None:
    lives = []
    for which in (REFERENCE, plugin):
        container = Container(tmp_path / which.name)
        try:
            before = container.look()
            added = container.call(which, "ADD", case.config, case.args)
            assert added.status == 0, added
            assert container.look() == before | dict(case.changed)
            files = container.files
            checked = container.call(which, "CHECK", {**case.config, "prevResult": added.json}, case.args)
            assert container.call(which, "DEL", case.config, case.args) == Answer(0, None, "")
            # What a container's sysctls were is nowhere.
            kept = {name: case.changed[name] for name in ("somaxconn",) if name in case.changed}
            assert container.look() == before | kept
            text = dumps(added.json).replace(container.netns.path, "NETNS")
            lives.append((loads(text), checked, files, container.files))
        finally:
            container.close()
    reference, own = lives
    # Versions before it has to be there have it even if it says nothing.
    assert reference[0].pop("dns") == {}
    assert own == reference


@dataclass(frozen=True)
class Refused:
    """A configuration that both programs refuse in the same words."""

    name: str
    config: Mapping[str, Any]
    error: str
    args: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


REFUSED = (
    Refused("no-result", {"prevResult": None}, "Required prevResult missing"),
    Refused("mac", {"mac": "zz"}, "invalid args zz for MAC addr: address zz: invalid MAC address"),
    Refused("no-sysctl", {"sysctl": {"net.nope": "1"}}, "open /proc/sys/net/nope: no such file or directory"),
    Refused(
        "no-value",
        {"sysctl": {"net.ipv4.ip_forward": "zz"}},
        "write /proc/sys/net/ipv4/ip_forward: invalid argument",
    ),
    Refused("interface", {"mtu": 1400}, 'failed to get "eth7": Link not found', env={"CNI_IFNAME": "eth7"}),
    Refused("args", {}, 'ARGS: unknown args ["FOO=1"]', args="FOO=1"),
    *(
        Refused(
            f"{key}-of-wrong-type",
            {key: value},
            f"failed to load netconf: json: cannot unmarshal {stated} into Go struct field "
            f"TuningConf.{key} of type {wanted}",
        )
        for key, value, stated, wanted in (
            ("mac", 5, "number", "string"),
            ("mtu", "x", "string", "int"),
            ("promisc", "x", "string", "bool"),
            ("allmulti", "x", "string", "bool"),
            ("sysctl", "x", "string", "map[string]string"),
            ("sysctl", {"net.core.somaxconn": 1}, "number", "string"),
            ("dataDir", 1, "number", "string"),
        )
    ),
    Refused(
        "args.cni-of-wrong-type",
        {"args": {"cni": {"mtu": "x"}}},
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        "IPAMArgs.args.cni.mtu of type int",
    ),
    Refused(
        "runtimeConfig-of-wrong-type",
        {"runtimeConfig": {"mac": 1}},
        "failed to load netconf: json: cannot unmarshal number into Go struct field "
        ".runtimeConfig.mac of type string",
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_it_refuses_in_the_reference_s_words(plugin: Path, container: Container, case: Refused) -> None:
    before = container.look()
    for which in (REFERENCE, plugin):
        answer = container.call(which, "ADD", case.config, case.args, **case.env)
        assert (answer.status, answer.error, answer.stderr) == (1, case.error, "")
        assert container.look() == before
        if which == REFERENCE:
            rmtree(container.directory, ignore_errors=True)
    assert answer.json["code"] < 999
    assert container.files == []


DAMAGES: tuple[tuple[Config, str, str], ...] = (
    (
        {"mac": MAC},
        f"address {OTHER_MAC}",
        f"configured Ethernet of eth0 is {MAC}, current value is {OTHER_MAC}",
    ),
    ({"mtu": 1400}, "mtu 1300", "configured MTU of eth0 is 1400, current value is 1300"),
    ({"promisc": True}, "promisc off", "link eth0 configured promisc is true, current value is 0"),
    ({}, "promisc on", "link eth0 configured promisc is false, current value is 1"),
)


@pytest.mark.parametrize(("config", "damage", "fault"), DAMAGES)
def test_check_tells_what_somebody_has_changed(
    plugin: Path, container: Container, config: Config, damage: str, fault: str
) -> None:
    assert container.call(plugin, "ADD", config).status == 0
    container.netns.run("ip", "link", "set", "eth0", *damage.split())
    for which in (REFERENCE, plugin):
        assert container.call(which, "CHECK", config).error == f"Error: Tuning {fault}"


def test_check_tells_of_sysctls_and_of_what_the_reference_does_not_look_at(
    plugin: Path, container: Container
) -> None:
    config = {"allmulti": True, "txQLen": 77, "sysctl": {"net.core.somaxconn": "77"}}
    assert container.call(plugin, "ADD", config).status == 0
    container.netns.run("sysctl", "-q", "net.core.somaxconn=78")
    path = "/proc/sys/net/core/somaxconn"
    for which in (REFERENCE, plugin):
        error = container.call(which, "CHECK", config).error
        assert error == f"Error: Tuning configured value of {path} is 77, current value is 78"
    container.netns.run("sysctl", "-q", "net.core.somaxconn=77")
    for damage, fault in (
        ("txqueuelen 78", "Transmit Queue Length of eth0 is 77, current value is 78"),
        ("allmulticast off", "all-multicast mode of eth0 is true, current value is false"),
    ):
        container.netns.run("ip", "link", "set", "eth0", *damage.split())
        assert container.call(plugin, "CHECK", config).error == f"Error: Tuning configured {fault}"
    container.netns.run("ip", "link", "set", "eth0", "name", "eth1")
    for which in (REFERENCE, plugin):
        assert container.call(which, "CHECK", config).error == "Cannot find container link eth0"


@pytest.mark.parametrize("adds_first", [True, False])
def test_either_program_restores_what_the_other_has_changed(
    plugin: Path, container: Container, adds_first: bool
) -> None:
    adding, removing = (plugin, REFERENCE) if adds_first else (REFERENCE, plugin)
    before = container.look()
    assert container.call(adding, "ADD", CHANGES).status == 0
    assert container.look() == before | CHANGES
    assert container.files == ["c1_eth0.json"]
    assert container.call(removing, "DEL", CHANGES) == Answer(0, None, "")
    assert container.look() == before
    assert container.files == []
