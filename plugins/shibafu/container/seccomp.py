"""The system calls that a container may use: a profile as Podman and Docker have them, for runc.

Such a profile is a list of rules, some of which hold only for certain architectures, capabilities or
kernels: its `includes` and `excludes`. What holds here is what the OCI runtime specification calls
`linux.seccomp`. The profile itself is not ours; Debian has it in golang-github-containers-common.
"""

import errno
import json
import os
import re
from collections.abc import Collection
from typing import Any

from shibafu.container.errors import ContainerError
from shibafu.lean.files import read_file

UNCONFINED = "unconfined"
# As Podman looks for it: the administrator's, and the distribution's.
PLACES = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_PACKAGE = "golang-github-containers-common"
_MAX_SIZE = 1 << 20  # bytes; Podman's has 13,000
# uname(2) -> what profiles, which are made by programs in Go, and libseccomp call it.
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}


class MissingProfileError(ContainerError):
    """There is no default profile."""


def load_seccomp(
    profile: str, capabilities: Collection[str], places: tuple[str, ...] = PLACES
) -> dict[str, Any] | None:
    """Return a container's `linux.seccomp`; None when it may use all system calls.

    Args:
        profile: the path of a profile, UNCONFINED, or empty for the default one.
        capabilities: what the container may do.
        places: where the default one may be.

    Raises:
        MissingProfileError: there is no default profile.
        ContainerError: there is no such profile, or it is invalid.
    """
    if profile == UNCONFINED:
        return None
    path = profile or next((place for place in places if os.path.isfile(place)), "")
    if not path:
        raise MissingProfileError(
            f"the default seccomp profile is missing: {places[-1]}", f"apt-get install {_PACKAGE}"
        )
    try:
        document = json.loads(_read(path))
        return calc_seccomp(document, capabilities, os.uname().machine, os.uname().release)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise ContainerError(f"the seccomp profile {path} cannot be used: {why}") from None


def _read(path: str) -> bytes:
    """Return a profile's text; devices and FIFOs are neither read nor waited for."""
    content = read_file(path, _MAX_SIZE + 1, follow=True)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if len(content) > _MAX_SIZE:
        raise OSError(errno.EFBIG, f"it is larger than {_MAX_SIZE} bytes", path)
    return content


def calc_seccomp(
    profile: dict[str, Any], capabilities: Collection[str], machine: str, release: str
) -> dict[str, Any]:
    """Return the parts of a profile that apply here, in the format of the OCI runtime specification.

    Args:
        profile: the profile.
        capabilities: what the container may do.
        machine: the machine's architecture, as uname(2) says.
        release: the kernel's release, likewise.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not a profile.
    """
    arch, native = _ARCHITECTURES.get(machine, (machine, ""))
    seccomp: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    _copy_errno(profile, "defaultErrno", "defaultErrnoRet", seccomp)
    architectures = list(profile.get("architectures") or [])
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == native:
            architectures += [native, *(entry.get("subArchitectures") or [])]
    if architectures:
        seccomp["architectures"] = architectures
    seccomp["syscalls"] = [
        _calc_rule(rule)
        for rule in profile.get("syscalls") or []
        if _holds(rule.get("includes") or {}, rule.get("excludes") or {}, arch, capabilities, release)
    ]
    return seccomp


def _holds(
    includes: dict[str, Any], excludes: dict[str, Any], arch: str, held: Collection[str], release: str
) -> bool:
    if arch in (excludes.get("arches") or []) or any(cap in held for cap in excludes.get("caps") or []):
        return False
    if excludes.get("minKernel") and _parse_release(release) >= _parse_release(excludes["minKernel"]):
        return False
    if includes.get("minKernel") and _parse_release(release) < _parse_release(includes["minKernel"]):
        return False
    arches = includes.get("arches") or [arch]
    return arch in arches and all(cap in held for cap in includes.get("caps") or [])


def _calc_rule(rule: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    _copy_errno(rule, "errno", "errnoRet", result)
    if rule.get("args"):
        result["args"] = [
            {key: arg[key] for key in ("index", "value", "valueTwo", "op") if key in arg}
            for arg in rule["args"]
        ]
    return result


def _copy_errno(source: dict[str, Any], name: str, number: str, target: dict[str, Any]) -> None:
    """Newer profiles state an error by its name as well, which counts then."""
    if source.get(name):
        target[number] = getattr(errno, source[name])
    elif source.get(number) is not None:
        target[number] = source[number]


def _parse_release(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    if not found:
        raise ValueError(f'"{text}" is not a kernel release')
    return int(found[1]), int(found[2])
