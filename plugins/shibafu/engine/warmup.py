"""Calls that are made before any that counts: they have the interpreter specialise what calls run.

They happen in network and mount namespaces of their own, with directories of their own, so that nothing of
them is left, not even when the engine is killed in the middle. The kernel takes apart what they have made.
"""

import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socketpair
from io import BytesIO
from struct import pack

from shibafu.cni.errors import calc_line
from shibafu.engine import protocol
from shibafu.engine.caller import Baseline, check_caller, read_environment
from shibafu.engine.programs import SERVED
from shibafu.engine.worker import Worker, wait_until
from shibafu.lean.json import dumps, loads
from shibafu.netlink.constants import CLONE_NEWNET, CLONE_NEWNS
from shibafu.netlink.libc import load_libc_function

# The interpreter specialises a function when it has run eight times.
_ROUNDS = 8
_NETWORKS = (
    {"ipMasq": False, "ranges": [[{"subnet": "10.88.0.0/16"}]]},
    {"ipMasq": True, "ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd88::/64"}]]},
)
# include/uapi/linux/mount.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


def warm_up(home: str) -> bool:
    """Make some calls of each kind; return whether they succeeded.

    Args:
        home: the folder that the executables are in.

    Raises:
        OSError: this process cannot get back to where it was, and must not go on.
    """
    places = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("mnt", "net")]
    cwd = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        try:
            return _train_apart(home)
        except OSError as error:
            # No right to make namespaces, for example: the first calls are a little slower, that is all.
            sys.stderr.write(f"shibafu-engine: no training: {error.strerror}\n")
            return False
    finally:
        setns = load_libc_function("setns")
        setns(places[0], CLONE_NEWNS)
        setns(places[1], CLONE_NEWNET)
        os.fchdir(cwd)
        for descriptor in (*places, cwd):
            os.close(descriptor)


def rehearse_reception(worker: Worker, build: str, own: Baseline) -> None:
    """Have a worker receive some calls, which are not carried out.

    Each process of the engine does that once, so that it would never be specialised: 0.04 ms of each call.

    Args:
        worker: the worker.
        build: the id of this build.
        own: what this process is like.
    """
    strings = (b"shibafu-ipam", b"shibafu-ipam", b"CNI_COMMAND=VERSION", b"PATH=/usr/bin:/bin")
    head = protocol.HEAD.pack(protocol.MAGIC, build.encode(), 0, 0, 1, len(strings) - 2, own.limits)
    message = head + b"".join(string + b"\0" for string in strings)
    rights = pack(f"={protocol.DESCRIPTORS}i", *[1] * protocol.DESCRIPTORS)
    for _ in range(_ROUNDS):
        launcher, connection = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            launcher.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, rights)])
            check_caller(connection, own.power)
            call = worker.receive(connection)
            for descriptor in call.descriptors:
                os.close(descriptor)
            read_environment(call.env)
            protocol.render_event(protocol.EVENT_ACCEPTED, 0, call.program, call.verb)
        except (OSError, protocol.RefusedError):
            return  # calls are a little slower, that is all
        finally:
            launcher.close()
            connection.close()


def _train_apart(home: str) -> bool:
    unshare = load_libc_function("unshare")
    mount = load_libc_function("mount")
    unshare(CLONE_NEWNS)
    mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    # All that these calls write is below it.
    mount(b"tmpfs", b"/run", b"tmpfs", 0, None)
    unshare(CLONE_NEWNET)
    container = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        return all(_attach(home, f"/proc/self/fd/{container}", network) for network in _NETWORKS * _ROUNDS)
    finally:
        os.close(container)
        wait_for_tasks()


def wait_for_tasks() -> None:
    """Wait until this process has one thread: with more it cannot leave the mount namespace; see setns(2).

    To the kernel a thread lives a moment longer than to the interpreter, which `wait_for_threads` asks.
    """
    wait_until(lambda: len(os.listdir("/proc/self/task")) == 1)


def _attach(home: str, netns: str, network: dict[str, object]) -> bool:
    """Make the calls of one container's life."""
    ipam = {"type": "shibafu-ipam", "ranges": network["ranges"], "dataDir": "/run/leases"}
    config = {
        "cniVersion": "1.0.0",
        "name": "training",
        "type": "shibafu-bridge",
        "bridge": "training0",
        "isDefaultGateway": True,
        "ipMasq": network["ipMasq"],
        "ipam": ipam,
    }
    result = _call("ADD", home, netns, config)
    if result is None:
        return False
    config["prevResult"] = loads(result)
    return _call("CHECK", home, netns, config) is not None and _call("DEL", home, netns, config) is not None


def _call(verb: str, home: str, netns: str, config: dict[str, object]) -> bytes | None:
    """Make one call; return what it printed, or None when it failed."""
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "training",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": home,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    answer = BytesIO()
    status = sys.modules[SERVED["shibafu-bridge"]].run(env, BytesIO(dumps(config).encode()), answer)
    if status:
        sys.stderr.write(
            f"shibafu-engine: {verb} in training failed: {calc_line(answer.getvalue().decode())}\n"
        )
        return None
    return answer.getvalue()
