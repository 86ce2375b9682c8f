"""resolv.conf and hosts: plugins return their contents, and the hook writes them.

The files are written where the bundle has them: what is bind-mounted at /etc/resolv.conf and /etc/hosts.
Only files inside the bundle are touched unasked, since people also mount the host's own there. What an
annotation names lies inside the bundle, too; only flags of the hook name files elsewhere.
"""

import os

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, IO_FAILURE, CniError
from shibafu.cni.names import is_valid_identifier
from shibafu.cni.result import parse_result
from shibafu.hook.container import Container
from shibafu.hook.forbidden_paths import ForbiddenPaths, find_identity
from shibafu.hook.safe_open import open_absolute, open_beneath
from shibafu.hook.settings import NamedFile, Settings
from shibafu.lean.files import read_file

# Where the servers are that systemd-resolved asks, while /etc/resolv.conf names only itself.
_HOST_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_HOST_FILES = ("/etc/resolv.conf", "/etc/hosts")
_MARK = "# shibafu"
_MAX_HOSTNAME = 253
_MAX_SIZE = 1 << 20  # bytes
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def write_files(container: Container, settings: Settings, results: list[dict[str, object]]) -> None:
    """Write both files, where the bundle, an annotation or a flag names them.

    Raises:
        CniError: a file cannot be written, or is none that the hook may write, or a name or a server
            is none that can be written into it.
    """
    refused = _find_refused(container)
    resolv_conf = _open_file(container, "/etc/resolv.conf", settings.resolv_conf, refused)
    if resolv_conf is not None:
        try:
            content = calc_resolv_conf(results)
            # A file with content that no network contradicts is what the bundle's author wants.
            if content or not _read_open(resolv_conf, "resolv.conf").strip():
                _write(resolv_conf, content or calc_host_resolv_conf())
        finally:
            os.close(resolv_conf)
    hosts = _open_file(container, "/etc/hosts", settings.hosts, refused)
    if hosts is not None:
        try:
            _write(hosts, calc_hosts(_read_open(hosts, "hosts"), results, container))
        finally:
            os.close(hosts)


def calc_resolv_conf(results: list[dict[str, object]]) -> str:
    """Return a resolv.conf of what all networks say; empty when they say nothing.

    Raises:
        CniError: they say what would be more than one word of a line.
    """
    domain = ""
    collected: dict[str, list[str]] = {"nameservers": [], "search": [], "options": []}
    for result in results:
        dns = Section(result, "Result").section("dns")
        domain = domain or _require_word("domain", dns.text("domain"))
        for key, values in collected.items():
            values += [_require_word(key, value) for value in dns.texts(key) if value not in ("", *values)]
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
    """Return a hosts file: its lines so far, but for those of an earlier start, and the addresses.

    Raises:
        CniError: the container's name is not a valid host name.
    """
    if not _is_hostname(container.hostname):
        raise CniError(
            INVALID_CONFIG,
            f'"hostname" in config.json is not a valid host name: {container.hostname[:_MAX_HOSTNAME]!r}',
            "use letters, digits and any of _ . -",
        )
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


def _is_hostname(name: str) -> bool:
    """Return whether a name can stand in a line of hosts (RFC 1123, and underscores, which are common)."""
    return len(name) <= _MAX_HOSTNAME and is_valid_identifier(name)


def _require_word(key: str, value: str) -> str:
    if value and (not value.isascii() or not value.isprintable() or " " in value):
        raise CniError(
            INVALID_CONFIG,
            f"a network's dns.{key} has {value[:_MAX_HOSTNAME]!r}, which is not a single word",
            "correct its configuration, or the source that its IPAM plugin reads",
        )
    return value


def _find_refused(container: Container) -> ForbiddenPaths:
    """Return where the container can put links and files, the host's own files, and config.json."""
    shared = [source.path for source in container.find_sources() if source.is_writable]
    paths = [path for path in shared if os.path.isdir(path)]
    paths += [*_HOST_FILES, f"{container.bundle}/config.json"]
    return ForbiddenPaths(identity for path in paths if (identity := find_identity(path)))


def _open_file(
    container: Container, destination: str, named: NamedFile, refused: ForbiddenPaths
) -> int | None:
    """Open the file to write; None when there is none."""
    if named.is_trusted and named.path.startswith("/"):
        return open_absolute(named.path, refused)
    if named.path:
        if not named.is_trusted:
            refused = refused.with_locations(container.find_sources())
        return open_beneath(container.bundle, container.identity, named.path, refused, creates=True)
    mounted = container.find_mount(destination)
    bundle = os.path.realpath(container.bundle)
    path = os.path.realpath(mounted) if mounted else ""
    is_ours = path.startswith(f"{bundle}/") and find_identity(path) not in map(find_identity, _HOST_FILES)
    if not is_ours:
        return None
    try:
        return open_beneath(
            bundle, container.identity, path.removeprefix(f"{bundle}/"), refused, creates=False
        )
    except FileNotFoundError:
        return None


def _read(path: str) -> str:
    """Return a file of the host's; empty when it is not there."""
    try:
        return _decode(read_file(path, _MAX_SIZE + 1, follow=True) or b"", path)
    except OSError:
        return ""


def _read_open(descriptor: int, name: str) -> str:
    return _decode(os.read(descriptor, _MAX_SIZE + 1), name)


def _decode(content: bytes, name: str) -> str:
    if len(content) > _MAX_SIZE:
        raise CniError(INVALID_CONFIG, f"{name} has more than {_MAX_SIZE} bytes", "empty it")
    return content.decode("utf-8", "surrogateescape")


def _write(descriptor: int, content: str) -> None:
    """Write a file in place: it may be bind-mounted already, and a new one would not be seen there."""
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        data = content.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot write the container's names: {error.strerror}") from None
