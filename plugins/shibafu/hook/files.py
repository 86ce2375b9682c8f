"""resolv.conf and hosts: plugins say what belongs there, and nobody else writes it.

The files are written where the bundle has them: what is bind-mounted at /etc/resolv.conf and /etc/hosts.
Only files inside the bundle are touched unasked, since people also mount the host's own there.
"""

import os

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from shibafu.cni.result import parse_result
from shibafu.hook.container import Container
from shibafu.hook.settings import PREFIX, Settings

# Where the servers are that systemd-resolved asks, while /etc/resolv.conf names only itself.
_HOST_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_MARK = "# shibafu"
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def write_files(container: Container, settings: Settings, results: list[dict[str, object]]) -> None:
    """Write both files, where the bundle or an annotation names them.

    Raises:
        CniError: a file cannot be written, or is the host's own.
    """
    resolv_conf = _find_file(container, "/etc/resolv.conf", settings.resolv_conf, "resolv-conf")
    if resolv_conf:
        content = calc_resolv_conf(results)
        # A file with content that no network contradicts is what the bundle's author wants.
        if content or not _read(resolv_conf).strip():
            _write(resolv_conf, content or calc_host_resolv_conf())
    hosts = _find_file(container, "/etc/hosts", settings.hosts, "hosts")
    if hosts:
        _write(hosts, calc_hosts(_read(hosts), results, container))


def calc_resolv_conf(results: list[dict[str, object]]) -> str:
    """Return a resolv.conf of what all networks say; empty when they say nothing."""
    domain = ""
    collected: dict[str, list[str]] = {"nameservers": [], "search": [], "options": []}
    for result in results:
        dns = Section(result, "Result").section("dns")
        domain = domain or dns.text("domain")
        for key, values in collected.items():
            values += [value for value in dns.texts(key) if value not in values]
    lines = [f"nameserver {address}" for address in collected["nameservers"]]
    if domain:
        lines.append(f"domain {domain}")
    lines += [f"{key} {' '.join(collected[key])}" for key in ("search", "options") if collected[key]]
    return "".join(f"{line}\n" for line in lines)


def calc_host_resolv_conf(paths: tuple[str, ...] = _HOST_RESOLV_CONF) -> str:
    """Return the host's resolv.conf without the servers that only the host reaches."""
    for path in paths:
        lines = [line for line in _read(path).splitlines() if not _is_local_server(line)]
        if any(line.startswith("nameserver") for line in lines):
            return "\n".join(lines) + "\n"
    return ""


def calc_hosts(content: str, results: list[dict[str, object]], container: Container) -> str:
    """Return a hosts file: its lines so far, but for those of an earlier start, and the addresses."""
    lines = [line for line in content.splitlines(keepends=True) if not line.rstrip().endswith(_MARK)]
    names = " ".join(dict.fromkeys([container.hostname, container.id]))
    addresses = [
        str(ip.address.address) for result in results for ip in parse_result(Section(result, "Result")).ips
    ]
    kept = "".join(lines)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    return (kept or _LOCALHOST) + "".join(f"{address}\t{names}\t{_MARK}\n" for address in addresses)


def _is_local_server(line: str) -> bool:
    keyword, address = [*line.split(), "", ""][:2]
    return keyword == "nameserver" and (address.startswith("127.") or address == "::1")


def _find_file(container: Container, destination: str, named: str, key: str) -> str:
    """Return the file to write; empty when there is none."""
    if named:
        path = os.path.realpath(named if named.startswith("/") else f"{container.bundle}/{named}")
        if _is_same_file(path, destination):
            what = f'"{PREFIX}{key}" is the host\'s own {destination}'
            raise CniError(INVALID_CONFIG, what, "name a file of the container")
        return path
    mounted = container.find_mount(destination)
    path = os.path.realpath(mounted) if mounted else ""
    inside = path.startswith(os.path.realpath(container.bundle) + "/")
    return path if inside and os.path.isfile(path) and not _is_same_file(path, destination) else ""


def _is_same_file(path: str, other: str) -> bool:
    try:
        one, two = os.stat(path), os.stat(other)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, os.fstat(descriptor).st_size).decode("utf-8", "surrogateescape")
        finally:
            os.close(descriptor)
    except OSError:
        return ""  # one that is not there yet


def _write(path: str, content: str) -> None:
    """Write a file in place: it may be bind-mounted already, and a new one would not be seen there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            data = content.encode("utf-8", "surrogateescape")
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot write {path}: {error.strerror}") from None
