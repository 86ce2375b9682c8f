"""Who calls: whether the engine may work for them, and becoming like them for the one call.

A worker has all the power that root has on the machine. It may use that for processes that have it
themselves, and for them only: otherwise a container's root that can reach the socket would be the machine's.
"""

import os
from _ctypes import Array, _SimpleCData

# `signal` pulls in enum.
from _signal import pidfd_send_signal  # type: ignore[import-not-found]
from _socket import SO_PEERCRED, SOL_SOCKET
from errno import ENOPROTOOPT
from fcntl import ioctl
from resource import RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, prlimit
from struct import Struct

from shibafu.cni.boot import forget_boot_id
from shibafu.engine.protocol import LIMITS, RLIM_NLIMITS, Call, RefusedError
from shibafu.netlink.constants import CLONE_NEWNET, CLONE_NEWNS
from shibafu.netlink.libc import load_libc_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

SO_PEERPIDFD = 77  # include/uapi/asm-generic/socket.h, since Linux 6.5
# include/uapi/linux/pidfd.h, since Linux 6.11
_PIDFD_GET_PID_NAMESPACE, _PIDFD_GET_USER_NAMESPACE = 0xFF05, 0xFF09
_LINUX_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
# include/uapi/linux/fcntl.h, stat.h; mounts since Linux 5.8
_AT_EMPTY_PATH = 0x1000
_STATX_INO, _STATX_MNT_ID = 0x100, 0x1000
# Of struct statx: what of it is filled in, the inode, the mount.
_STATX = Struct("=I28xQ104xQ")
_UCRED = Struct("=iII")
_PIDFD = Struct("=i")
_LARGEST_FILE = 1 << 16
# What is at these paths depends on who looks.
_DESCRIPTORS = ("/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/")
_MOUNT_ID = b"\nmnt_id:\t"


class _Number(_SimpleCData):  # type: ignore[type-arg]  # generic to type checkers, not to the interpreter
    """A __u32."""

    _type_ = "I"


class _CapabilityHeader(Array):  # type: ignore[type-arg]  # likewise
    """The version, and a process; see capget(2)."""

    _type_ = _Number
    _length_ = 2


class _CapabilitySets(Array):  # type: ignore[type-arg]  # likewise
    """Twice the effective, permitted and inheritable ones: the lower 32 of each, and the upper ones."""

    _type_ = _Number
    _length_ = 6


class _Long(_SimpleCData):  # type: ignore[type-arg]  # likewise
    """A __u64."""

    _type_ = "Q"


class _FileStatus(Array):  # type: ignore[type-arg]  # likewise
    """Room for struct statx; see statx(2)."""

    _type_ = _Long
    _length_ = 32


_capget = load_libc_function("capget")
_statx = load_libc_function("statx")


class Power:
    """What a process may do.

    Args:
        pid: its number.
        process: a descriptor of it; see pidfd_open(2).

    Raises:
        OSError: it has ended, or there is no /proc.
    """

    __slots__ = ("capabilities", "pids", "user")

    def __init__(self, pid: int, process: int) -> None:
        sets = _CapabilitySets()
        _capget(_CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, pid), sets)
        self.capabilities = sets[0] | sets[3] << 32
        self.user = _identify_namespace(process, _PIDFD_GET_USER_NAMESPACE, f"/proc/{pid}/ns/user")
        self.pids = _identify_namespace(process, _PIDFD_GET_PID_NAMESPACE, f"/proc/{pid}/ns/pid")


class Baseline:
    """What a process of the engine is like before it becomes like a caller: looked up once, for all of them.

    Raises:
        OSError: there is no /proc.
    """

    __slots__ = ("limits", "mount", "network", "power", "root", "setns")

    def __init__(self) -> None:
        own = os.getpid()
        process = os.pidfd_open(own)
        self.power = Power(own, process)
        os.close(process)
        self.network = os.stat("/proc/self/ns/net").st_ino
        self.mount = os.stat("/proc/self/ns/mnt").st_ino
        self.root = _identify_root()
        self.limits = LIMITS.pack(*(value for limit in range(RLIM_NLIMITS) for value in prlimit(0, limit)))
        self.setns = load_libc_function("setns")


def check_caller(connection: "socket", engine: Power) -> None:
    """Refuse a process that has connected and may not have the engine's power.

    Raises:
        RefusedError: it has less power than the engine, or more, or is in namespaces of its own.
    """
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _UCRED.size))
    if (uid, gid) != (0, 0):
        raise RefusedError("the caller is not root")
    if pid <= 0:
        raise RefusedError("the caller is in another process namespace")
    process = _open_process(connection, pid)
    try:
        caller = Power(pid, process)
        # It is still alive, so that its number has not been reused.
        pidfd_send_signal(process, 0)
    except (OSError, ValueError):
        raise RefusedError("the caller has ended") from None
    finally:
        os.close(process)
    if caller.user != engine.user:
        raise RefusedError("the caller is in another user namespace")
    if caller.pids != engine.pids:
        raise RefusedError("the caller is in another process namespace")
    if caller.capabilities & engine.capabilities != engine.capabilities:
        raise RefusedError("the caller has fewer capabilities")
    if caller.capabilities != engine.capabilities:
        raise RefusedError("the caller has more capabilities")


def become_caller(call: Call, engine: Baseline) -> dict[str, str]:
    """Take over the caller's namespaces, directories, limits and descriptors.

    Args:
        call: what the caller has sent. Its descriptors are closed.
        engine: where this process is so far.

    Returns:
        Its environment.

    Raises:
        RefusedError: its root directory is another one than its mount namespace's, its memory is limited, or
            a variable is the path of one of its descriptors.
        OSError: the kernel's refusal; this process cannot serve anybody any more.
    """
    stdin, stdout, stderr, directory, root, network, mount = call.descriptors
    own_root = engine.root
    if os.fstat(mount).st_ino != engine.mount:
        engine.setns(mount, CLONE_NEWNS)
        forget_boot_id()
        own_root = _identify_root()
    if _identify(root) != own_root:
        raise RefusedError("the caller is in another root directory")
    if os.fstat(network).st_ino != engine.network:
        engine.setns(network, CLONE_NEWNET)
    os.fchdir(directory)
    os.umask(call.umask)
    if call.limits != engine.limits:
        _take_limits(call.limits)
    environment = read_environment(call.env)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
    # A reader of what the program prints waits until the last copy is closed.
    for descriptor in call.descriptors:
        os.close(descriptor)
    return environment


def _identify_namespace(process: int, request: int, path: str) -> int:
    """Return the inode number of a process's namespace.

    Its descriptor takes the kernel less time than the first look into its directory in /proc.

    Args:
        process: the descriptor.
        request: asks it for the namespace.
        path: where the namespace is, for older kernels.
    """
    try:
        namespace = ioctl(process, request)
    except OSError:
        return os.stat(path).st_ino
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def _open_process(connection: "socket", pid: int) -> int:
    """Return a descriptor of the process that has connected.

    Before Linux 6.5 it is opened by its number, in the moment after it has connected.

    Raises:
        RefusedError: it has ended.
    """
    try:
        return int(_PIDFD.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERPIDFD, _PIDFD.size))[0])
    except OSError as error:
        # ESRCH or, before Linux 6.15, EINVAL: its number may be another process's by now.
        if error.errno != ENOPROTOOPT:
            raise RefusedError("the caller has ended") from None
    try:
        return os.pidfd_open(pid)
    except OSError:
        raise RefusedError("the caller has ended") from None


def _identify_root() -> tuple[int, int]:
    own = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        return _identify(own)
    finally:
        os.close(own)


def _identify(directory: int) -> tuple[int, int]:
    """Return what identifies a directory: its inode, and its mount."""
    status = _FileStatus()
    # In one request: to read it from a file of /proc took 0.03 ms.
    _statx(directory, b"", _AT_EMPTY_PATH, _STATX_INO | _STATX_MNT_ID, status)
    known, inode, mount = _STATX.unpack_from(status)
    if not known & _STATX_MNT_ID:
        lines = _read(f"/proc/self/fdinfo/{directory}")
        mount = int(lines.partition(_MOUNT_ID)[2].partition(b"\n")[0])
    return inode, mount


def _read(path: str) -> bytes:
    """Return the content of a small file of /proc."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LARGEST_FILE)
    finally:
        os.close(descriptor)


def _take_limits(packed: bytes) -> None:
    """Have the caller's resource limits, as the launcher's getrlimit(2) has found them.

    Raises:
        RefusedError: its memory is limited.
        OSError: this process may not have one of them.
    """
    values = LIMITS.unpack(packed)
    # This process has more than a plugin needs, and would have nothing left.
    if any(values[2 * limit] != RLIM_INFINITY for limit in (RLIMIT_AS, RLIMIT_DATA)):
        raise RefusedError("the caller's memory is limited")
    for limit in range(RLIM_NLIMITS):
        prlimit(0, limit, values[2 * limit : 2 * limit + 2])


def read_environment(lines: list[bytes]) -> dict[str, str]:
    """Return the caller's variables, as `os.environ` has them.

    They do not become this process's: `os.environ` takes as long to set one as to read one, which was a
    twentieth of VERSION and of a call of shibafu-ipam, and programs get their environment as an argument.

    Raises:
        RefusedError: one is the path of a descriptor, which is another process's.
    """
    variables: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.decode("utf-8", "surrogateescape").partition("=")
        if value.startswith(_DESCRIPTORS):
            raise RefusedError("a path is that of the caller's descriptor")
        if name and equals:
            # If a name occurs twice, the first counts, as for getenv(3).
            variables.setdefault(name, value)
    return variables
