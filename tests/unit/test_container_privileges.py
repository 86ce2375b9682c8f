"""What containers may do: capabilities, and the profile of system calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from shibafu.container.errors import ContainerError
from shibafu.container.privileges import (
    DEFAULT,
    NAMES,
    calc_capabilities,
    parse_capabilities,
    read_capabilities,
)
from shibafu.container.seccomp import PLACES, calc_seccomp, load_seccomp


def held(added: list[str], dropped: list[str]) -> set[str]:
    """Return what a container may do."""
    return set(calc_capabilities(parse_capabilities(added), parse_capabilities(dropped)))


def test_names_are_taken_as_people_write_them() -> None:
    assert parse_capabilities(["net_raw", "CAP_NET_RAW", "cap_Net_Raw,mknod", "all"]) == [
        *("CAP_NET_RAW", "CAP_NET_RAW", "CAP_NET_RAW", "CAP_MKNOD", "ALL"),
    ]


@pytest.mark.parametrize("word", ["", "NET_ROW", "CAP_ALL", "CAP_", "NET_RAW,", "*", "net raw"])
def test_unknown_names_are_refused(word: str) -> None:
    with pytest.raises(ContainerError, match="unknown capability"):
        parse_capabilities([word])


def test_what_is_added_and_dropped() -> None:
    assert held([], []) == set(DEFAULT)
    assert held(["NET_RAW"], ["CHOWN"]) == {*DEFAULT, "CAP_NET_RAW"} - {"CAP_CHOWN"}
    assert held([], ["ALL"]) == set()
    assert held(["KILL"], ["ALL"]) == {"CAP_KILL"}
    available = set(read_capabilities("CapBnd"))
    assert held(["ALL"], []) == available <= set(NAMES)
    assert held(["ALL"], ["CHOWN"]) == available - {"CAP_CHOWN"}
    for name in ("ALL", "KILL"):
        with pytest.raises(ContainerError, match="is both added and dropped"):
            held([name], [name])


def rule(**more: Any) -> dict[str, Any]:
    """Return a rule of a profile."""
    return {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}} | more


def holds(capabilities: tuple[str, ...] = (), machine: str = "x86_64", **conditions: Any) -> bool:
    """Return whether a rule with conditions holds."""
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(**conditions)]}
    return bool(calc_seccomp(profile, capabilities, machine, "6.1.0-18-amd64")["syscalls"])


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"includes": None, "excludes": None}, True),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"excludes": {"arches": ["arm64"]}}, True),
        ({"includes": {"caps": ["CAP_KILL"]}}, True),
        ({"includes": {"caps": ["CAP_KILL", "CAP_BPF"]}}, False),
        ({"excludes": {"caps": ["CAP_BPF", "CAP_KILL"]}}, False),
        ({"excludes": {"caps": ["CAP_BPF"]}}, True),
        ({"includes": {"caps": ["CAP_KILL"], "arches": ["arm64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.1"}}, True),
        ({"includes": {"minKernel": "6.10"}}, False),
        ({"excludes": {"minKernel": "4.8"}}, False),
        ({"excludes": {"minKernel": "6.2"}}, True),
    ],
)
def test_conditions_of_rules(conditions: dict[str, Any], expected: bool) -> None:
    assert holds(("CAP_KILL",), **conditions) is expected


def test_another_architecture() -> None:
    assert holds(machine="aarch64", includes={"arches": ["arm64"]})
    assert holds(machine="unheard-of", includes={"arches": ["unheard-of"]})


def test_rules_keep_their_arguments_and_errors() -> None:
    argument = {"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [
            rule(args=[argument | {"comment": ""}], errnoRet=1, errno="EINVAL"),
            rule(args=None, errnoRet=1, action="SCMP_ACT_ERRNO", comment="no"),
        ],
    }
    assert calc_seccomp(profile, (), "x86_64", "6.1.0") == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "errnoRet": 22, "args": [argument]},
            {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        ],
    }


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "7"),
        '{"defaultAction": "x", "syscalls": [7]}',
        '{"defaultAction": "x", "syscalls": [{}]}',
        '{"defaultAction": "x", "defaultErrno": "ENOWHERE"}',
    ],
)
def test_a_profile_that_is_none_records_suffice(tmp_path: Path, content: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(ContainerError, match=r"the seccomp profile .*profile\.json cannot be used"):
        load_seccomp(str(path), ())


def test_a_profile_that_is_missing_records_suffice(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="cannot be used: No such file"):
        load_seccomp(f"{tmp_path}/none", ())
    with pytest.raises(ContainerError, match="the default seccomp profile is missing") as told:
        load_seccomp("", (), (f"{tmp_path}/none",))
    assert told.value.hint == "apt-get install golang-github-containers-common"
    assert load_seccomp("unconfined", (), (f"{tmp_path}/none",)) is None


@pytest.mark.skipif(not Path(PLACES[1]).exists(), reason="needs golang-github-containers-common")
def test_the_packaged_profile() -> None:
    profile = json.loads(Path(PLACES[1]).read_text())

    def find_actions(name: str, *capabilities: str) -> set[str]:
        seccomp = calc_seccomp(profile, capabilities, "x86_64", "6.1.0")
        return {entry["action"] for entry in seccomp["syscalls"] if name in entry["names"]}

    assert find_actions("bpf") == {"SCMP_ACT_ERRNO"}
    assert find_actions("bpf", "CAP_SYS_ADMIN") == {"SCMP_ACT_ALLOW"}
    assert find_actions("read") == {"SCMP_ACT_ALLOW"}
    assert find_actions("kexec_load", *NAMES) == {"SCMP_ACT_ERRNO"}
