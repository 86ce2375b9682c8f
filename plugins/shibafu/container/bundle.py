"""The bundle of a container: config.json as the OCI runtime specification 1.0.2 says, and its files."""

from pathlib import Path
from typing import Any

from shibafu.container.specification import Specification

# What containers of Docker and Podman may do, too (capabilities(7)).
_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
        "AUDIT_WRITE",
    )
]
_MASKED = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
]
_READ_ONLY = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_FLAGS = ["nosuid", "noexec", "nodev"]
# Files of the container's directory that lie over those of its image.
FILES = ("resolv.conf", "hosts", "hostname")
_HOOK_TIMEOUT = 120  # seconds


def calc_config(
    spec: Specification, directory: Path, hook: str, hook_flags: list[str], cgroup_parent: str
) -> dict[str, Any]:
    """Return a container's config.json.

    Args:
        spec: the container.
        directory: the bundle.
        hook: the path of shibafu-hook.
        hook_flags: its flags.
        cgroup_parent: the control group that the container's is in.
    """
    return {
        "ociVersion": "1.0.2",
        "hostname": spec.hostname,
        "annotations": spec.calc_annotations(),
        "hooks": {} if spec.is_on_host_network else _calc_hooks(hook, hook_flags),
        "process": _calc_process(spec),
        "root": {"path": "rootfs"},
        "mounts": [*_calc_system_mounts(), *_calc_file_mounts(directory), *_calc_volumes(spec)],
        "linux": _calc_linux(spec, cgroup_parent),
    }


def _calc_hooks(hook: str, flags: list[str]) -> dict[str, Any]:
    entry = {"path": hook, "args": ["shibafu-hook", *flags], "timeout": _HOOK_TIMEOUT}
    return {"createRuntime": [entry], "poststop": [entry]}


def _calc_process(spec: Specification) -> dict[str, Any]:
    return {
        "terminal": spec.has_terminal,
        "user": {"uid": spec.uid, "gid": spec.gid},
        "args": spec.argv,
        "env": spec.env,
        "cwd": spec.workdir,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
    }


def _calc_system_mounts() -> list[dict[str, Any]]:
    return [
        _mount("/proc", "proc", _FLAGS),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/dev/shm", "tmpfs", [*_FLAGS, "mode=1777", "size=65536k"]),  # noqa: S108 - the container's
        _mount("/dev/mqueue", "mqueue", _FLAGS),
        # Never the host's, not on the host's network either: what is mounted there would come along
        # writable, and the control groups tell what a container may do with devices.
        _mount("/sys", "sysfs", [*_FLAGS, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", [*_FLAGS, "relatime", "ro"]),
    ]


def _mount(destination: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": options}


def _calc_file_mounts(directory: Path) -> list[dict[str, Any]]:
    return [
        {
            "destination": f"/etc/{name}",
            "type": "bind",
            "source": str(directory / name),
            "options": ["rbind", "rprivate"],
        }
        for name in FILES
    ]


def _calc_volumes(spec: Specification) -> list[dict[str, Any]]:
    return [
        {
            "destination": volume.destination,
            "type": "bind",
            "source": volume.source,
            "options": ["rbind", "rprivate", "ro" if volume.is_read_only else "rw"],
        }
        for volume in spec.volumes
    ]


def _calc_linux(spec: Specification, cgroup_parent: str) -> dict[str, Any]:
    namespaces = ["mount", "pid", "ipc", "uts", "cgroup"]
    if not spec.is_on_host_network:
        namespaces.append("network")
    return {
        "namespaces": [{"type": kind} for kind in namespaces],
        "cgroupsPath": f"{cgroup_parent}/{spec.name}",
        # runc adds those that every container has: null, zero, random, tty.
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
