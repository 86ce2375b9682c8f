"""What a container is asked to be, and the bundle that it becomes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.errors import CniError
from shibafu.container.bundle import calc_config
from shibafu.container.errors import ContainerError
from shibafu.container.privileges import calc_privileges
from shibafu.container.specification import Specification, Volume, load_specification
from shibafu.hook.container import Container
from shibafu.hook.settings import Flags, parse_settings

# The default profile of system calls is another package's; see test_container_rights.py.
SPEC = Specification(
    name="web1",
    image="alpine",
    rootfs="/images/alpine/rootfs",
    argv=["sleep", "600"],
    env=["A=1"],
    networks=["blue", "green"],
    hostname="web1",
    seccomp="unconfined",
)
DIRECTORY = Path("/data/containers/web1")


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a container."""
    spec = replace(SPEC, **changes)
    return calc_config(
        spec, calc_privileges(spec), DIRECTORY, "/usr/sbin/shibafu-hook", ["--a=b"], "/shibafu"
    )


def kinds(document: dict[str, Any]) -> set[str]:
    """Return the namespaces of a bundle."""
    return {namespace["type"] for namespace in document["linux"]["namespaces"]}


def test_the_hook_gets_its_flags_and_the_annotations() -> None:
    document = config(ip="10.0.0.7", mac="02:00:00:00:00:01", ports=["80:80"], bandwidth="egress=1M")
    assert document["hooks"]["createRuntime"] == document["hooks"]["poststop"]
    (entry,) = document["hooks"]["poststop"]
    assert (entry["path"], entry["args"]) == ("/usr/sbin/shibafu-hook", ["shibafu-hook", "--a=b"])
    asked = parse_settings(Flags({}), document["annotations"])
    assert asked.networks == ["blue", "green"]
    assert (asked.ips, asked.macs) == ({"blue": ["10.0.0.7"]}, {"blue": "02:00:00:00:00:01"})
    assert asked.ports == [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]
    assert asked.bandwidth["egressRate"] == 10**6
    assert asked.policy_args == {}


def test_the_hook_is_told_what_policies_find_it_by() -> None:
    document = config(namespace="prod", labels={"example.org/app": "web"}, named_ports=["http=80/tcp"])
    assert parse_settings(Flags({}), document["annotations"]).policy_args == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "prod",
        "SHIBAFU_LABELS": "example.org/app:web",
        "SHIBAFU_PORTS": "http:80/tcp",
    }


def test_it_has_namespaces_of_its_own() -> None:
    assert kinds(config()) == {"mount", "pid", "ipc", "uts", "cgroup", "network"}
    assert config()["linux"]["cgroupsPath"] == "/shibafu/web1"


def test_on_the_hosts_network_there_is_no_hook() -> None:
    document = config(networks=["host"])
    assert "network" not in kinds(document)
    assert (document["hooks"], document["annotations"]) == ({}, {})


def test_sys_is_never_the_hosts() -> None:
    for networks in (["host"], ["none"], ["blue"]):
        document = config(networks=networks)
        assert "cgroup" in kinds(document)
        kept = {m["destination"]: m for m in document["mounts"] if m["destination"].startswith("/sys")}
        assert {path: mount["type"] for path, mount in kept.items()} == {
            "/sys": "sysfs",
            "/sys/fs/cgroup": "cgroup",
        }
        assert all("ro" in mount["options"] for mount in kept.values())


def test_privileges_are_few() -> None:
    document = config()
    held = document["process"]["capabilities"]["bounding"]
    assert "CAP_SETUID" in held
    assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_MKNOD", "CAP_SYS_PTRACE"} & set(held)
    assert document["linux"]["resources"]["pids"] == {"limit": 2048}
    assert {"allow": False, "access": "rwm"} in document["linux"]["resources"]["devices"]
    assert "/proc/kcore" in document["linux"]["maskedPaths"]
    assert "/proc/sys" in document["linux"]["readonlyPaths"]


def test_other_users_have_what_was_added_for_them() -> None:
    rights = config(uid=1000, added=["CAP_NET_RAW"])["process"]["capabilities"]
    assert {"CAP_NET_RAW", "CAP_SETUID"} <= set(rights["bounding"])
    for kind in ("effective", "permitted", "inheritable", "ambient"):
        assert rights[kind] == ["CAP_NET_RAW"]


def test_no_setting_of_the_hosts_network_is_changed() -> None:
    assert config()["linux"]["sysctl"] == {"net.ipv4.ping_group_range": "0 0"}
    assert "sysctl" not in config(networks=["host"])["linux"]


def test_the_hook_finds_the_files_that_it_writes() -> None:
    from shibafu.cni.config import Section

    container = Container("web1", 1, str(DIRECTORY), {}, Section(config(), "config.json"))
    assert container.find_mount("/etc/resolv.conf") == f"{DIRECTORY}/resolv.conf"
    assert container.find_mount("/etc/hosts") == f"{DIRECTORY}/hosts"


def test_volumes() -> None:
    document = config(volumes=[Volume("/srv", "/www", is_read_only=True), Volume("/a", "/b")])
    mounts = {mount["destination"]: mount for mount in document["mounts"]}
    assert (mounts["/www"]["source"], mounts["/www"]["options"][-2:]) == ("/srv", ["ro", "rro"])
    assert mounts["/b"]["options"][-1] == "rw"


def require_possible(spec: Specification) -> None:
    spec.validate()
    calc_privileges(spec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "not a valid name for a container"),
        ({"name": "-a"}, "not a valid name for a container"),
        ({"name": "a" * 64}, "not a valid name for a container"),
        ({"networks": ["none", "blue"]}, 'network "none" cannot be combined with other'),
        ({"networks": ["host"], "ports": ["80:80"]}, "need a network"),
        ({"networks": ["none"], "ip": "10.0.0.1"}, "need a network"),
        ({"ip": "10.0.0.300"}, "^--ip: invalid IP address"),
        ({"ports": ["80"]}, '^--publish: "80" is not a published port'),
        ({"bandwidth": "fast"}, '^--bandwidth: "fast" is not a limit'),
        ({"mac": "02:00"}, "^--mac: "),
        ({"networks": [""]}, '^"" is not a valid name for a network'),
        ({"networks": ["blue,green"]}, "is not a valid name for a network"),
        ({"networks": ["blue", "blue"]}, "^--network names a network twice"),
        ({"hostname": ""}, '^"" is not a valid host name'),
        ({"hostname": "a b"}, '^"a b" is not a valid host name'),
        ({"hostname": "a" * 64}, "is not a valid host name"),
        ({"added": ["CAP_KILL"], "dropped": ["CAP_KILL"]}, "both added and dropped"),
        ({"seccomp": "/nowhere"}, "the seccomp profile /nowhere cannot be used"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        require_possible(replace(SPEC, **changes))


def test_what_is_kept_is_what_was_asked_for(tmp_path: Path) -> None:
    spec = replace(SPEC, volumes=[Volume("/a", "/b")], is_removed=True)
    spec.validate()
    spec.save(tmp_path / "container.json")
    assert load_specification(tmp_path / "container.json") == spec


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"volumes": [{}]}', '{"volumes": [], "x": 1}'])
def test_a_damaged_file_records_suffice(tmp_path: Path, content: str) -> None:
    (tmp_path / "container.json").write_text(content)
    with pytest.raises(ContainerError, match="is damaged"):
        load_specification(tmp_path / "container.json")


def test_the_hooks_own_refusals_come_from_the_hook() -> None:
    """Not from a copy of its rules: whatever it refuses is refused before anything is made."""
    with pytest.raises(CniError):
        parse_settings(Flags({}), replace(SPEC, ip="x").calc_annotations())
