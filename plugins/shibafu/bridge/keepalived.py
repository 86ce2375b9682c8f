"""keepalived(8): its configuration of a network's gateway, and the process that reads it.

It is never started from here: whether and how a host runs it is its administrator's matter.
"""

import os
from _signal import SIGHUP  # type: ignore[import-not-found]  # typeshed knows only `signal`

from shibafu.cni.directories import make_directory
from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, LIMITED_CONNECTIVITY, NOT_AVAILABLE, CniError
from shibafu.cni.names import calc_file_name
from shibafu.lean.files import read_file, remove_file, write_file
from shibafu.lean.subprocess import Child, find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.shared_gateway import SharedGateway

_DIRECTORY = "/etc/keepalived"
_MAIN_FILE = f"{_DIRECTORY}/keepalived.conf"
INCLUDE_LINE = f"include {_DIRECTORY}/conf.d/*.conf"
# The second one with `use_pid_dir`, keepalived.conf(5).
_PID_FILES = ("/run/keepalived.pid", "/run/keepalived/keepalived.pid")
_LARGEST = 1 << 20
# Seconds between advertisements; a host is taken for dead after three of them and a part of one.
_INTERVAL = "0.1"


def calc_keepalived_path(network: str) -> str:
    """Return the file of a network."""
    return f"{_DIRECTORY}/conf.d/{calc_file_name('shibafu', network)}.conf"


def render_keepalived(
    network: str, link: str, gateway: "SharedGateway", incarnation: str, outage: str
) -> str:
    """Return the configuration of a network's gateway.

    IPv6 addresses move with the IPv4 instance (`virtual_ipaddress_excluded`). An instance of their own would
    need a sync group, in which keepalived 2.2.7 stays BACKUP for ever if the bridge was down at its start.

    Args:
        network: the network's name.
        link: the link that has the addresses.
        gateway: what the network's configuration states.
        incarnation: what tells the link from an earlier one of its name. keepalived waits for ever for
            one that was deleted, unless it reads its configuration again.
        outage: the file that says whether all uplinks of the link are dead; empty where it has none.
    """
    name = f"shibafu-{network}"
    own = next(ip.address for ip in gateway.host_ips if ip.version == 4)
    # Without a prefix: no other address goes when the kernel removes one of these.
    addresses = {v: [str(g.address) for g in gateway.gateways if g.version == v] for v in (4, 6)}
    blocks = {
        "virtual_ipaddress": addresses[4],
        "virtual_ipaddress_excluded": addresses[6],
        "track_interface": gateway.tracked,
        "track_file": [name] if outage else [],
    }
    watched = [f"track_file {name} {{", f'    file "{outage}"', "    weight 0", "}"] if outage else []
    lines = [
        f"# The gateway of network {network}. shibafu has written this, and does so again after changes.",
        f"# Interface: {incarnation}",
        "global_defs {",
        "    # The bridge comes with the first container.",
        "    dynamic_interfaces allow_if_changes",
        "}",
        *watched,
        f"vrrp_instance {name} {{",
        "    version 3",
        "    state BACKUP",
        "    nopreempt",
        f"    interface {link}",
        f"    mcast_src_ip {own}",
        f"    virtual_router_id {gateway.router_id}",
        f"    priority {gateway.priority}",
        f"    advert_int {_INTERVAL}",
        "    garp_master_repeat 2",
    ]
    for block, entries in blocks.items():
        if entries:
            lines += [f"    {block} {{", *(f"        {entry}" for entry in entries), "    }"]
    return "\n".join([*lines, "}", ""])


def find_obstacle(env: "Mapping[str, str]", network: str) -> CniError | None:
    """Return what keeps a network's configuration from having an effect: a missing program, or line."""
    if find_program("keepalived", env.get("PATH", "")) is None:
        return CniError(NOT_AVAILABLE, "keepalived is not installed", "install the package keepalived")
    if not _is_included(os.path.basename(calc_keepalived_path(network))):
        what = f"{_MAIN_FILE} does not include the gateway of network {network}"
        return CniError(NOT_AVAILABLE, what, f'add the line "{INCLUDE_LINE}" to it')
    return None


def require_keepalived(env: "Mapping[str, str]", network: str) -> None:
    """Refuse a host on which a network's configuration has no effect.

    Raises:
        CniError: keepalived is missing, or does not include the file.
    """
    obstacle = find_obstacle(env, network)
    if obstacle is not None:
        raise obstacle


def find_standstill() -> CniError | None:
    """Return a failure if keepalived does not run in this namespace; None if it does."""
    if _find_process():
        return None
    return CniError(
        LIMITED_CONNECTIVITY,
        "keepalived is not running on this host",
        "start it, for example with `systemctl enable --now keepalived`; until then the gateway can only "
        "be on another host",
    )


def read_configuration(network: str) -> bytes | None:
    """Return what a network's file holds; None if there is none.

    Raises:
        OSError: it cannot be read.
    """
    return read_file(calc_keepalived_path(network), _LARGEST)


def find_other_file(network: str, link: str) -> str:
    """Return the file of another network that has its gateway on a link; empty if there is none.

    Raises:
        OSError: one cannot be read.
    """
    own = calc_keepalived_path(network)
    try:
        names = sorted(os.listdir(os.path.dirname(own)))
    except FileNotFoundError:
        return ""
    for path in (f"{os.path.dirname(own)}/{name}" for name in names if name.startswith("shibafu-")):
        is_other = path.endswith(".conf") and path != own
        if is_other and f"\n    interface {link}\n".encode() in (read_file(path, _LARGEST) or b""):
            return path
    return ""


def install_configuration(network: str, text: str, env: "Mapping[str, str]") -> None:
    """Write a network's file, once keepalived has found it right, and have keepalived read it.

    Raises:
        CniError: keepalived is missing, does not include the file, or refuses it.
        OSError: it cannot be written.
    """
    require_keepalived(env, network)
    path = calc_keepalived_path(network)
    make_directory(os.path.dirname(path), 0o755)
    # The name ends such that the line for `include` does not take it in.
    new = f"{path}.new-{os.getpid()}"
    try:
        write_file(new, text.encode(), mode=0o644)
        _test(new, env)
        write_file(_calc_mark(network), b"")
        os.replace(new, path)
    finally:
        remove_file(new)
    _tell_keepalived(network)


def remove_configuration(network: str) -> str:
    """Remove a network's file, and have keepalived give its addresses up; return the path if there was one.

    Raises:
        OSError: it cannot be removed.
    """
    path = calc_keepalived_path(network)
    if os.path.lexists(path):
        write_file(_calc_mark(network), b"")
    was_there = remove_file(path)
    if not is_keepalived_told(network):
        _tell_keepalived(network)
    return path if was_there else ""


def is_keepalived_told(network: str) -> bool:
    """Return whether keepalived was told of a network's file as it is: calls may be killed before they do."""
    return not os.path.lexists(_calc_mark(network))


def reload_keepalived() -> None:
    """Have keepalived read its configuration again, if it runs, as `systemctl reload` does."""
    pid = _find_process()
    if pid:
        try:
            os.kill(pid, SIGHUP)
        except ProcessLookupError:
            pass  # it has ended just now, and reads its configuration when it starts


def _tell_keepalived(network: str) -> None:
    reload_keepalived()
    remove_file(_calc_mark(network))


def _calc_mark(network: str) -> str:
    """Return the file that is there while keepalived is yet to be told; `include` does not take it in."""
    return f"{calc_keepalived_path(network)}.untold"


def _test(path: str, env: "Mapping[str, str]") -> None:
    program = find_program("keepalived", env.get("PATH", "")) or ""
    argv = [program, "--config-test", f"--use-file={path}"]
    try:
        status, _, complaint = Child(program, argv, env, b"", keep_stderr=True).wait()
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot execute {program}: {error.strerror}") from None
    if status:
        said = complaint.decode("utf-8", "replace").strip().replace("\n", "; ")
        raise CniError(INVALID_CONFIG, f"keepalived refuses the gateway's configuration: {said}")


def _is_included(name: str) -> bool:
    """Return whether keepalived.conf includes a file of the directory `conf.d`."""
    content = read_file(_MAIN_FILE, _LARGEST, follow=True) or b""
    for line in content.decode("utf-8", "replace").splitlines():
        word, _, pattern = line.partition("#")[0].partition("!")[0].strip().partition(" ")
        directory, _, wanted = pattern.strip().strip('"').rpartition("/")
        if word.startswith("include") and directory in (f"{_DIRECTORY}/conf.d", "conf.d", "./conf.d"):
            head, star, tail = wanted.partition("*")
            if name == wanted or (star and name.startswith(head) and name.endswith(tail)):
                return True
    return False


def _find_process() -> int:
    """Return the number of the keepalived of this network namespace; 0 if there is none."""
    for path in _PID_FILES:
        try:
            text = (read_file(path, 32) or b"").strip()
            pid = int(text) if text.isdigit() else 0
            is_it = read_file(f"/proc/{pid}/comm", 32) == b"keepalived\n"
            # Another namespace's is another host's, as far as addresses go.
            if is_it and os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
                return pid
        except OSError:
            continue
    return 0
