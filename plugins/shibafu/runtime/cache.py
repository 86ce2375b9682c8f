"""The cache of results: one file for each attachment, in libcni's format, for CHECK, DEL and GC.

    /var/lib/cni/results/<network>-<container ID>-<ifname>

Every runtime of a host uses the same directory. A file that is torn, empty or of another kind counts
as none: what it said can be found out in other ways, and an error would keep the container for ever.
"""

import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from shibafu.cni.config import Section, parse_config
from shibafu.cni.directories import make_directory, secure_directories, secure_given_directory
from shibafu.cni.errors import INVALID_ENVIRONMENT, IO_FAILURE, CniError
from shibafu.cni.names import MAX_FILE_NAME, is_valid_identifier
from shibafu.cni.result import parse_result
from shibafu.lean.files import open_file, remove_file, write_file
from shibafu.lean.json import dumps
from shibafu.resource.identity import NetnsIdentity, has_vanished, is_same_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = "/var/lib/cni/results"
_KIND = "cniCacheV1"
_IDENTITY = "netnsIdentity"
_OWN_NETNS = "/proc/self/ns/net"


class CachedAttachment:
    """A container on a network.

    Args:
        network: the network's name.
        container_id: the container.
        ifname: the link inside the container.
        netns: the path of its network namespace when it was attached; empty when unknown.
        result: what the last plugin answered; None when unknown.
        cni_args: CNI_ARGS.
        capability_args: what the runtime handed over by capabilities, such as portMappings.
        config: the network's configuration as it was then, a JSON document.
        identity: which network namespace it was; None when unknown, as for what other runtimes attached.
    """

    __slots__ = (
        "capability_args",
        "cni_args",
        "config",
        "container_id",
        "identity",
        "ifname",
        "netns",
        "network",
        "result",
    )

    def __init__(
        self,
        network: str,
        container_id: str,
        ifname: str,
        netns: str = "",
        result: dict[str, object] | None = None,
        cni_args: "Mapping[str, str] | None" = None,
        capability_args: "Mapping[str, object] | None" = None,
        config: bytes = b"",
        identity: "NetnsIdentity | None" = None,
    ) -> None:
        self.network = network
        self.container_id = container_id
        self.ifname = ifname
        self.netns = netns
        self.result = result
        self.cni_args = dict(cni_args or {})
        self.capability_args = dict(capability_args or {})
        self.config = config
        self.identity = identity

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it: network, container ID, interface name."""
        return self.network, self.container_id, self.ifname

    def has_ended(self) -> bool:
        """Return whether the container's namespace is gone, or another one at its path.

        Where it is not known which one it was, any that is there counts.
        """
        return self.has_certainly_ended() or has_vanished(self.netns)

    def has_certainly_ended(self) -> bool:
        """Return whether the container's namespace is known, and gone."""
        return self.identity is not None and self.identity.has_ended()

    def is_alive(self) -> bool:
        """Return whether the container's namespace exists.

        Where it is not known which one it was, any that is there counts, except for the caller's own: then
        the number of the container's process now belongs to another one.
        """
        if self.identity is not None:
            return self.identity.is_there()
        return not has_vanished(self.netns) and not is_same_netns(self.netns, _OWN_NETNS)


def refuse_long_key(attachment: CachedAttachment) -> None:
    """Refuse what cannot be cached, before a plugin is called.

    Raises:
        CniError: the network's name, the container ID and the interface's name make no name of a file.
    """
    _, aside = _calc_paths(*attachment.key, "")
    excess = len(aside.encode("utf-8", "surrogateescape")) - 1 - MAX_FILE_NAME
    if excess > 0:
        raise CniError(
            INVALID_ENVIRONMENT,
            f"container ID is too long by {excess} characters",
            f"its cache file is named after network, container and interface: {aside[2:]}",
        )


def cache_write(attachment: CachedAttachment, directory: str = DIRECTORY) -> None:
    """Cache an attachment, atomically.

    The file is renamed into its place, but not forced to the disk: no attachment outlives the machine's
    next start, and readers take a torn file for none.

    Raises:
        OSError: it cannot be written.
        CniError: others can write there.
    """
    document: dict[str, object] = {
        "kind": _KIND,
        "containerId": attachment.container_id,
        "config": b2a_base64(attachment.config, newline=False).decode(),
        "ifName": attachment.ifname,
        "networkName": attachment.network,
    }
    optional: dict[str, object] = {
        "netns": attachment.netns,
        "cniArgs": [[key, value] for key, value in attachment.cni_args.items()],
        "capabilityArgs": attachment.capability_args,
        "result": attachment.result,
        # This runtime's own; others pass over it.
        _IDENTITY: attachment.identity.to_json() if attachment.identity is not None else None,
    }
    document |= {key: value for key, value in optional.items() if value}
    path, aside = _calc_paths(*attachment.key, directory)
    _secure(directory)
    make_directory(directory, 0o700)
    write_file(aside, dumps(document).encode("utf-8", "surrogateescape"))
    os.rename(aside, path)


def cache_read(
    network: str, container_id: str, ifname: str, directory: str = DIRECTORY
) -> CachedAttachment | None:
    """Return a cached attachment; None if there is none, or it is invalid."""
    _secure(directory)
    path, _ = _calc_paths(network, container_id, ifname, directory)
    document = _read(path)
    if document is None:
        return None
    if "kind" not in document and "cniVersion" in document:
        # Before libcni 0.8.0 the file was the result.
        return CachedAttachment(network, container_id, ifname, result=_keep_result(document.values))
    attachment = _parse(document)
    # `a-b` of network `c` and `b` of network `c-a` share a file.
    return attachment if attachment and attachment.key == (network, container_id, ifname) else None


def cache_remove(network: str, container_id: str, ifname: str, directory: str = DIRECTORY) -> None:
    """Forget an attachment; a file that belongs to another one is left alone.

    Raises:
        OSError: the file cannot be removed.
    """
    path, aside = _calc_paths(network, container_id, ifname, directory)
    document = _read(path)
    other = _parse(document) if document is not None else None
    for name in (aside, path) if other is None or other.key == (network, container_id, ifname) else (aside,):
        remove_file(name)


def cache_list(
    network: str = "",
    container_id: str = "",
    directory: str = DIRECTORY,
    broken: list[CniError] | None = None,
) -> list[CachedAttachment]:
    """Return all attachments, or those of a network or a container, in the order of their files' names.

    Args:
        network: the network's name; empty for all.
        container_id: likewise.
        directory: the cache.
        broken: takes the files that name no attachment, or another one than their own name does.

    Raises:
        CniError: others can write there.
    """
    _secure(directory)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    attachments = []
    prefix = f"{network}-" if network else ""
    for name in names:
        # Names are cheap to compare, files are not cheap to read.
        if name.startswith(".") or not name.startswith(prefix) or f"-{container_id}" not in name:
            continue
        document = _read(f"{directory}/{name}")
        if document is not None and "kind" not in document and "cniVersion" in document:
            continue  # of old, see `cache_read`
        attachment = _parse(document) if document is not None else None
        if attachment is None or _calc_paths(*attachment.key, directory)[0] != f"{directory}/{name}":
            # What an edited file says must lead to no other file, and no other container.
            if broken is not None:
                broken.append(_describe_broken(f"{directory}/{name}"))
        elif network in ("", attachment.network) and container_id in ("", attachment.container_id):
            attachments.append(attachment)
    return attachments


def _describe_broken(path: str) -> CniError:
    return CniError(IO_FAILURE, f"{path} names no attachment", "find out what it is, and remove it")


def _secure(directory: str) -> None:
    """Make sure that nobody else can write results: DEL calls the plugins that they name."""
    if directory == DIRECTORY:
        secure_given_directory(os.path.dirname(directory))
        secure_directories(directory)
    else:
        secure_given_directory(directory)


def _calc_paths(network: str, container_id: str, ifname: str, directory: str) -> tuple[str, str]:
    """Return where the file is, and where it is written; the lock of the container keeps others away."""
    name = f"{network}-{container_id}-{ifname}"
    return f"{directory}/{name}", f"{directory}/.{name}"


def _read(path: str) -> Section | None:
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return parse_config(os.read(descriptor, os.fstat(descriptor).st_size))
    except (CniError, OSError):
        return None
    finally:
        os.close(descriptor)


def _parse(document: Section) -> CachedAttachment | None:
    try:
        if document.text("kind") != _KIND:
            return None
        pairs = [pair for pair in document.array("cniArgs") if isinstance(pair, list) and len(pair) == 2]
        attachment = CachedAttachment(
            document.text("networkName"),
            document.text("containerId"),
            document.text("ifName"),
            document.text("netns"),
            _keep_result(document.section("result").values),
            {str(key): str(value) for key, value in pairs},
            document.section("capabilityArgs").values,
            a2b_base64(document.text("config")),
            NetnsIdentity.from_json(document.text("netns"), document.get(_IDENTITY)),
        )
    except (CniError, Base64Error, ValueError):
        return None
    texts = (attachment.ifname, attachment.netns, *attachment.cni_args, *attachment.cni_args.values())
    is_possible = is_valid_identifier(attachment.network) and is_valid_identifier(attachment.container_id)
    # What is read here becomes paths, and the environment of plugins.
    return attachment if is_possible and not any("\0" in text for text in texts) else None


def _keep_result(values: dict[str, object]) -> dict[str, object] | None:
    """Return a result as it is, if it is one."""
    try:
        parse_result(Section(values, "Result"))
    except CniError:
        return None
    return values or None
