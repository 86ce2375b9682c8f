"""The bundle of a container: config.json as the OCI runtime specification 1.0.2 says, and its files."""

from pathlib import Path
from typing import Any

from shibafu.container.limits import calc_rlimits
from shibafu.container.privileges import Privileges
from shibafu.container.specification import Specification

# What a container does not see of the kernel: Podman's list, and what later ones, and Docker's, have.
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
# As in Podman.
_MAX_PROCESSES = 2048
_UMASK = 0o022
_FLAGS = ["nosuid", "noexec", "nodev"]
# Files of the container's directory that lie over those of its image.
FILES = ("resolv.conf", "hosts", "hostname")
# Seconds after which runc kills a hook: more than it waits for a plugin, which it then ends in order.
_HOOK_TIMEOUT = 300


def calc_config(
    spec: Specification,
    rights: Privileges,
    directory: Path,
    hook: str,
    hook_flags: list[str],
    cgroup_parent: str,
) -> dict[str, Any]:
    """Return a container's config.json.

    Args:
        spec: the container.
        rights: what it may do.
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
        "process": _calc_process(spec, rights.capabilities),
        "root": {"path": "rootfs"},
        "mounts": [*_calc_system_mounts(), *_calc_file_mounts(directory), *_calc_volumes(spec)],
        "linux": _calc_linux(spec, rights, cgroup_parent),
    }


def _calc_hooks(hook: str, flags: list[str]) -> dict[str, Any]:
    entry = {"path": hook, "args": ["shibafu-hook", *flags], "timeout": _HOOK_TIMEOUT}
    return {"createRuntime": [entry], "poststop": [entry]}


def _calc_process(spec: Specification, held: list[str]) -> dict[str, Any]:
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), held)
    if spec.uid != 0:
        # Another user has what was added for it; the rest is what setuid programs may give it.
        own = [name for name in held if name in spec.added or "ALL" in spec.added]
        capabilities |= dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), own)
    return {
        "terminal": spec.has_terminal,
        "user": {"uid": spec.uid, "gid": spec.gid, "umask": _UMASK},
        "args": spec.argv,
        "env": spec.env,
        "cwd": spec.workdir,
        "capabilities": capabilities,
        "rlimits": calc_rlimits(spec.limits),
        "noNewPrivileges": spec.has_no_new_privileges,
    }


def _calc_system_mounts() -> list[dict[str, Any]]:
    return [
        _mount("/proc", "proc", _FLAGS),
        _mount("/dev", "tmpfs", ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        # As large as Podman's, which counts in thousands.
        _mount("/dev/shm", "tmpfs", [*_FLAGS, "mode=1777", "size=64000k"]),  # noqa: S108 - the container's
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
            # `rro`: what is mounted below, too; mount_setattr(2).
            "options": ["rbind", "rprivate", *(["ro", "rro"] if volume.is_read_only else ["rw"])],
        }
        for volume in spec.volumes
    ]


def _calc_linux(spec: Specification, rights: Privileges, cgroup_parent: str) -> dict[str, Any]:
    namespaces = ["mount", "pid", "ipc", "uts", "cgroup"]
    linux: dict[str, Any] = {
        "cgroupsPath": f"{cgroup_parent}/{spec.name}",
        "resources": {
            # runc adds those that every container has: null, zero, random, tty.
            "devices": [{"allow": False, "access": "rwm"}],
            "pids": {"limit": _MAX_PROCESSES},
        },
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
    if not spec.is_on_host_network:
        namespaces.append("network")
        # ping without NET_RAW, icmp(7); it is the network namespace's, and must not be the host's.
        linux["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    linux["namespaces"] = [{"type": kind} for kind in namespaces]
    if rights.seccomp:
        linux["seccomp"] = rights.seccomp
    return linux
