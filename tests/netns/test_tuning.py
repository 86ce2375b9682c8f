"""shibafu-tuning: what containers are like, what their packets do, and what becomes of what was before."""

import os
import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from netns.tuned import CHANGES, FIRST_MAC, MAC, Answer, Config, Container
from support.suite import Suite

pytestmark = pytest.mark.root

LOGGED = "net.ipv4.conf.IFNAME.log_martians"


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path / "tuning")
    yield made
    made.close()


@pytest.fixture
def plugin(suite: Suite) -> Path:
    return suite.directory / "shibafu-tuning"


@pytest.mark.parametrize(
    "config",
    [
        {"sysctl": {LOGGED: "1"}},
        {"mac": MAC.upper().replace(":", "-")},
        {"sysctl": {"net.ipv4.tcp_rmem": "4096 87380 6291456"}},
        {"sysctl": {"net.ipv4.ip_local_reserved_ports": ""}},
        {"sysctl": {"net.ipv4.route.flush": "1"}},
        {"args": {"cni": {"sysctl": {"net.core.somaxconn": "77"}}}},
        {"txQLen": 77},
    ],
)
def test_check_finds_no_fault_where_the_reference_errs(
    plugin: Path, container: Container, config: Config
) -> None:
    added = container.call(plugin, "ADD", config)
    assert added.status == 0
    assert container.call(plugin, "CHECK", {**config, "prevResult": added.json}) == Answer(0, None, "")


def test_the_interface_s_own_sysctls_are_set(plugin: Path, container: Container) -> None:
    assert container.read("net.ipv4.conf.eth0.log_martians") == "0"
    assert container.call(plugin, "ADD", {"sysctl": {LOGGED: "1"}}).status == 0
    assert container.read("net.ipv4.conf.eth0.log_martians") == "1"


def test_del_restores_whatever_the_configuration_says_by_now(plugin: Path, container: Container) -> None:
    before = container.look()
    assert container.call(plugin, "ADD", {**CHANGES, "txQLen": 77}).status == 0
    now = {"mtu": "x", "mac": 1, "sysctl": 0, "prevResult": None}
    assert container.call(plugin, "DEL", now, args="FOO") == Answer(0, None, "")
    assert container.look() == before
    assert container.call(plugin, "DEL", now) == Answer(0, None, "")


def test_two_of_a_chain_restore_what_was_before_both(plugin: Path, container: Container) -> None:
    before = container.look()
    for config in ({"mac": MAC, "mtu": 1400}, {"mtu": 1300, "promisc": True}):
        assert container.call(plugin, "ADD", config).status == 0
    assert container.look() == before | {"mac": MAC, "mtu": 1300, "promisc": True}
    for _ in range(2):
        assert container.call(plugin, "DEL", {}) == Answer(0, None, "")
        assert container.look() == before


def test_a_failed_add_leaves_nothing(plugin: Path, container: Container) -> None:
    before = container.look()
    config = {**CHANGES, "sysctl": {"net.core.somaxconn": "77", LOGGED: "1"}, "mtu": 10}
    answer = container.call(plugin, "ADD", config)
    assert (answer.status, answer.json["code"]) == (1, 101)
    assert "mtu 10" in answer.error
    assert container.look() == before
    assert container.files == []
    sysctls = {"net.core.somaxconn": "77", "net.nope": "1"}
    assert container.call(plugin, "ADD", {"sysctl": sysctls}).status == 1
    assert container.look() == before


def test_del_goes_on_after_what_the_kernel_refuses(plugin: Path, container: Container) -> None:
    before = container.look()
    assert container.call(plugin, "ADD", CHANGES).status == 0
    path = container.directory / "c1_eth0.json"
    path.write_text(dumps(loads(path.read_text()) | {"mtu": 7}))
    answer = container.call(plugin, "DEL", CHANGES)
    assert (answer.status, answer.json) == (0, None)
    assert "eth0 of container c1: failed to restore MTU: " in answer.stderr
    assert container.look() == before | {"mtu": 1400}
    assert container.files == []


@pytest.mark.parametrize("netns", ["", "/run/netns/shibafu-no-such", "/proc/self/ns/net", "/dev/null"])
def test_del_needs_no_namespace(plugin: Path, container: Container, netns: str) -> None:
    assert container.call(plugin, "ADD", CHANGES).status == 0
    assert container.call(plugin, "DEL", CHANGES, CNI_NETNS=netns) == Answer(0, None, "")
    assert container.files == []


def test_del_leaves_another_namespace_s_interface_alone(
    plugin: Path, container: Container, tmp_path: Path
) -> None:
    """The path is the same, for a process's number may be given to another one."""
    assert container.call(plugin, "ADD", CHANGES).status == 0
    other = Container(container.directory)
    try:
        before = other.look()
        other.netns.run("ip", "link", "set", "eth0", "mtu", "1200")
        assert other.call(plugin, "DEL", CHANGES) == Answer(0, None, "")
        assert other.look() == before | {"mtu": 1200}
        assert container.files == []
    finally:
        other.close()


def test_a_file_that_makes_no_sense_is_removed(plugin: Path, container: Container) -> None:
    before = container.look()
    container.directory.mkdir()
    for content in ("", "[]", '{"mac": 5, "mtu": "x", "promisc": 1}'):
        (container.directory / "c1_eth0.json").write_text(content)
        assert container.call(plugin, "DEL", {}) == Answer(0, None, "")
        assert container.look() == before
        assert container.files == []


def test_nobody_else_s_file_is_followed(plugin: Path, container: Container, tmp_path: Path) -> None:
    container.directory.mkdir()
    target = tmp_path / "target"
    target.write_text("precious")
    (container.directory / "c1_eth0.json").symlink_to(target)
    assert container.call(plugin, "ADD", CHANGES).status == 0
    assert target.read_text() == "precious"
    assert (container.directory / "c1_eth0.json").stat().st_mode & 0o777 == 0o600
    assert container.call(plugin, "DEL", CHANGES).status == 0
    container.directory.chmod(0o777)
    os.chown(container.directory, 1, 1)
    answer = container.call(plugin, "ADD", CHANGES)
    assert (answer.status, answer.json["code"]) == (1, 5)
    assert f"chmod go-w {container.directory}" in answer.json["details"]


def test_gc_removes_files_of_what_is_not_valid(plugin: Path, container: Container) -> None:
    for container_id in ("c1", "c2", "c3"):
        config = {"mtu": 1400, "name": "other" if container_id == "c3" else "net"}
        assert container.call(plugin, "ADD", config, CNI_CONTAINERID=container_id).status == 0
    (container.directory / "c4_eth0.json").write_text('{"mtu": 1500}')
    everything = container.files
    call: Config = {"cniVersion": "1.1.0", "prevResult": None}
    assert container.call(plugin, "GC", call) == Answer(0, None, "")
    assert container.files == everything
    valid = [{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth1"}]
    assert container.call(plugin, "GC", {**call, "cni.dev/valid-attachments": valid}).status == 0
    assert container.files == ["c1_eth0.json", "c3_eth0.json", "c4_eth0.json"]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"sysctl": {"kernel.hostname": "x"}}, 'invalid net sysctl key: "kernel/hostname"'),
        ({"sysctl": {"netx.core": "x"}}, 'invalid net sysctl key: "netx/core"'),
        ({"sysctl": {"net": "x"}}, 'invalid net sysctl key: "net"'),
        ({"mtu": -1}, "invalid mtu -1"),
        ({"mtu": 1 << 40}, f"invalid mtu {1 << 40}"),
        ({"txQLen": -1}, "invalid txQLen -1"),
        ({"dataDir": "tuning"}, 'invalid dataDir "tuning"'),
        ({"mac": "03:00:00:00:00:01"}, "invalid args 03:00:00:00:00:01 for MAC addr: "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    plugin: Path, container: Container, config: Config, error: str
) -> None:
    before = container.look()
    for verb in ("ADD", "CHECK", "STATUS"):
        answer = container.call(plugin, verb, {"cniVersion": "1.1.0", "promisc": True, **config})
        assert (answer.status, answer.json["code"]) == (1, 7)
        assert answer.error.startswith(error)
        assert answer.json["details"]
    assert container.look() == before


def test_sysctls_that_are_stated_twice_are_refused(plugin: Path, container: Container) -> None:
    sysctl = '"sysctl": {"net.core.somaxconn": "1", "net.core.somaxconn": "2"}'
    document = f'{{"cniVersion": "1.1.0", "name": "net", "type": "tuning", {sysctl}}}'
    env = {"CNI_COMMAND": "STATUS", "CNI_PATH": "/"}
    done = subprocess.run([plugin], env=env, input=document.encode(), capture_output=True, check=False)
    assert done.returncode == 1
    assert loads(done.stdout)["msg"] == "duplicated sysctl keys are not allowed"


ONLY = "is not allowed. Only the following sysctls are allowed:"
ALLOWLIST = "\n^net\\.core\\.[a-z]+$\n  ^net/ipv4/conf/IFNAME/  \n"
LISTED = "[^net\\.core\\.[a-z]+$ ^net/ipv4/conf/IFNAME/]"


@pytest.mark.parametrize(
    ("allowlist", "sysctl", "error"),
    [
        (ALLOWLIST, "net.core.somaxconn", ""),
        (ALLOWLIST, "net/ipv4/conf/IFNAME/log_martians", ""),
        (
            ALLOWLIST,
            LOGGED,
            f"Sysctl {LOGGED} {ONLY} {LISTED}",
        ),
        ("", LOGGED, f"Sysctl {LOGGED} {ONLY} []"),
        ("net.[", LOGGED, "error parsing regexp: "),
        ("net.[[:alpha:]]", LOGGED, "error parsing regexp: a class such as [[:alpha:]] is not supported"),
    ],
)
def test_only_sysctls_are_set_that_the_administrator_allows(
    plugin: Path, container: Container, tmp_path: Path, allowlist: str, sysctl: str, error: str
) -> None:
    """In a mount namespace, where /etc/cni is another directory."""
    (tmp_path / "cni" / "tuning").mkdir(parents=True)
    (tmp_path / "cni" / "tuning" / "allowlist.conf").write_text(allowlist)
    os.makedirs("/etc/cni", exist_ok=True)
    wrapped = tmp_path / "wrapped"
    wrapped.write_text(
        f"#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {tmp_path}/cni /etc/cni && exec {plugin}'\n"
    )
    wrapped.chmod(0o755)
    before = container.look()
    answer = container.call(wrapped, "ADD", {"sysctl": {sysctl: "1"}})
    assert answer.error.startswith(error), answer
    assert (container.look() == before) is bool(error)
    if error:
        assert answer.json["code"] == 7
        status = container.call(wrapped, "STATUS", {"cniVersion": "1.1.0", "sysctl": {sysctl: "1"}})
        assert status.error == answer.error


def test_packets_go_by_what_was_changed(plugin: Path, container: Container) -> None:
    def ping(size: int) -> bool:
        """Return whether the container answers to a packet of that many bytes that must not be divided."""
        arguments = ("-c1", "-W1", "-Mdo", f"-s{size - 28}", "10.9.0.2")
        done = subprocess.run(
            ["ip", "netns", "exec", container.peer.name, "ping", *arguments], capture_output=True, check=False
        )
        return done.returncode == 0

    def find_neighbour() -> str:
        container.peer.run("ip", "neighbour", "flush", "all")
        assert ping(100)
        [neighbour] = loads(container.peer.run("ip", "-json", "neighbour", "show", "10.9.0.2"))
        return str(neighbour["lladdr"])

    assert (find_neighbour(), ping(1500)) == (FIRST_MAC, True)
    config = {"mac": MAC, "mtu": 1400}
    assert container.call(plugin, "ADD", config).status == 0
    # A link drops what is longer than its MTU allows.
    assert (find_neighbour(), ping(1500), ping(1400)) == (MAC, False, True)
    quiet = {"sysctl": {"net.ipv4.icmp_echo_ignore_all": "1"}}
    assert container.call(plugin, "ADD", quiet, CNI_CONTAINERID="c2").status == 0
    assert not ping(100)
    container.netns.run("sysctl", "-q", "net.ipv4.icmp_echo_ignore_all=0")
    assert container.call(plugin, "DEL", config).status == 0
    assert (find_neighbour(), ping(1500)) == (FIRST_MAC, True)


def test_the_result_tells_the_mtu_where_one_was_told(plugin: Path, container: Container) -> None:
    result = container.result | {"cniVersion": "1.1.0"}
    result["interfaces"][1]["mtu"] = 1500
    answer = container.call(plugin, "ADD", {"cniVersion": "1.1.0", "mtu": 1400, "prevResult": result})
    assert [interface.get("mtu") for interface in answer.json["interfaces"]] == [None, 1400]
