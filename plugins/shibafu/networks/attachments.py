"""Attaching containers to networks and taking them off, by the plugins, as any runtime does it."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shibafu.cni.args import is_valid_value
from shibafu.cni.errors import CniError
from shibafu.cni.names import is_valid_identifier
from shibafu.networks.adoption import adopt_chain
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu.networks.inspect import CACHE, GONE, Endpoint, Inspector
from shibafu.networks.kernel import Kernel, open_kernel
from shibafu.networks.leases import open_pool
from shibafu.networks.machine import Directories
from shibafu.networks.named_netns import find_netns, inside
from shibafu.resource.identity import has_vanished
from shibafu.resource.records import NetworkState
from shibafu.runtime.cache import cache_list, cache_read
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import NetworkList

# The beginning of a container's ID that can stand for it, as in Docker's and Podman's commands. What
# somebody chose as a name cannot be shortened: `web` is not `web1`.
_ID = re.compile("[0-9a-f]{12,}")
_MIN_PREFIX = 3
_SHOWN = 80  # characters of invalid input
_MAX_INTERFACES = 100


@dataclass(frozen=True)
class Target:
    """A container.

    Args:
        container_id: what networks know it by.
        netns: the path of its namespace.
    """

    container_id: str
    netns: str


@dataclass(frozen=True)
class Finding:
    """What the plugins say of a network or of a container on it, in the words of the specification.

    Args:
        network: the network.
        containerID: the container; empty for the network itself.
        ifname: its interface.
        problem: what is wrong; empty when nothing is known to be.
        notChecked: why nobody looked; empty when somebody did.
        advice: what to do about the problem; empty where nothing is known.
    """

    network: str
    containerID: str  # noqa: N815 - so it is called for programs
    ifname: str
    problem: str = ""
    notChecked: str = ""  # noqa: N815
    advice: str = ""


class Caller:
    """Calls the plugins of networks.

    Args:
        kernel: the host's namespace.
        runtime: calls chains of plugins and keeps their results.
    """

    def __init__(self, kernel: Kernel, runtime: Runtime) -> None:
        self.kernel = kernel
        self.runtime = runtime

    @classmethod
    def of_directories(cls, kernel: Kernel, directories: Directories) -> "Caller":
        """Return what calls plugins with the directories of a command line."""
        runtime = Runtime(
            directories.cni_path, cache_dir=directories.cache_dir, conf_dir=directories.conf_dir
        )
        return cls(kernel, runtime)

    def attach(
        self,
        network: ConfiguredNetwork,
        target: Target,
        ifname: str = "",
        ip: str = "",
        mac: str = "",
        more_args: Mapping[str, str] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Attach a container; return its interface's name and the result.

        Args:
            network: the network.
            target: the container.
            ifname: the interface's name; empty for the first eth<n> that is free.
            ip: the address that it gets; empty for any.
            mac: its hardware address; empty for any.
            more_args: further pairs of CNI_ARGS.

        Raises:
            CniError: the plugins refuse.
            CommandError: an address is none.
        """
        for option, text in (("--ip", ip), ("--mac", mac)):
            # Whether it is an address, plugins say; what could be more than itself, nobody gets.
            if not is_valid_value(text):
                raise CommandError(f"{option}: {text[:_SHOWN]!r} is not an address", "write only the address")
        ifname = ifname or self._choose_ifname(target)
        args = dict(more_args or {})
        capabilities: dict[str, object] = {}
        for capability, key, text in (("ips", "IP", ip), ("mac", "MAC", mac)):
            if not text:
                continue
            if network.declares(capability):
                capabilities[capability] = [text] if capability == "ips" else text
            else:
                args |= {"IgnoreUnknown": "1", key: text}
        result = self.runtime.add(
            network.config, target.container_id, target.netns, ifname, args, capabilities
        )
        return ifname, result

    def detach(self, network: ConfiguredNetwork, endpoint: Endpoint) -> None:
        """Take a container off a network, whether it is still there or not.

        Raises:
            CniError: the plugins fail.
        """
        # Another namespace at its path is none of its business.
        netns = "" if endpoint.state == GONE or has_vanished(endpoint.netns) else endpoint.netns
        attached = self._find_attached(network, endpoint)
        try:
            self.runtime.delete(attached, endpoint.container_id, netns, endpoint.ifname)
        except CniError as error:
            what = f"cannot detach {endpoint.container_id}, {endpoint.ifname}: {error.msg}"
            raise CniError(error.code, what, error.details) from None

    def _find_attached(self, network: ConfiguredNetwork, endpoint: Endpoint) -> NetworkList:
        """Return the network as it was when a container was attached to it."""
        for attachment in cache_list(network.name, endpoint.container_id, self.runtime.cache_dir):
            if attachment.ifname == endpoint.ifname:
                try:
                    return self.runtime.find_attached_network(attachment)
                except CniError:
                    break  # a broken file that comes first hides it from runtimes
        return network.config

    def check(self, network: ConfiguredNetwork) -> list[Finding]:
        """Ask a network's plugins whether it works, and of each container whether it has what it got."""
        answer = _ask(self.runtime.status, network.config)
        if network.problem:
            answer = f"its configuration is invalid: {network.problem}", "", network.advice
        findings = [Finding(network.name, "", "", *answer)]
        broken: list[CniError] = []
        endpoints = self.find_endpoints(network, broken)
        open_pool(network).list(broken)
        findings += [Finding(network.name, "", "", error.msg, "", error.details) for error in broken]
        for endpoint in endpoints:
            if endpoint.state == GONE:
                answer = GONE, "", f"`shibafu network gc {network.name}` frees what it left behind"
            elif CACHE not in endpoint.sources:
                answer = "", "no runtime has cached its result here", ""
            else:
                # By the plugins of the network, and of this suite those that a container's options have added
                # to its chain: the reference's portmap misses rules of IPv6 on networks that have none.
                cached = cache_read(network.name, *endpoint.key, self.runtime.cache_dir)
                chain = adopt_chain(network.config, cached)
                check = self.runtime.check
                answer = _ask(check, chain, endpoint.container_id, endpoint.netns, endpoint.ifname)
            findings.append(Finding(network.name, *endpoint.key, *answer))
        return findings

    def find_endpoints(
        self, network: ConfiguredNetwork, broken: list[CniError] | None = None
    ) -> list[Endpoint]:
        """Return a network's containers as they are now; see `Inspector.find_endpoints`."""
        return Inspector(self.kernel, self.runtime.cache_dir).find_endpoints(network, broken)

    def _choose_ifname(self, target: Target) -> str:
        with inside(target.netns), open_kernel() as kernel:
            taken = set(kernel.links())
        cached = cache_list("", target.container_id, self.runtime.cache_dir)
        taken |= {attachment.ifname for attachment in cached if not attachment.has_ended()}
        for number in range(_MAX_INTERFACES):
            if f"eth{number}" not in taken:
                return f"eth{number}"
        raise CommandError(
            f"container {target.container_id} has too many interfaces", "specify one with --ifname"
        )


def _ask(call: Callable[..., str], *arguments: object) -> tuple[str, str, str]:
    """Return what plugins find wrong, why they were not asked, and their advice; empty texts for nothing."""
    try:
        return "", call(*arguments), ""
    except CniError as error:
        return error.msg, "", error.details
    except OSError as error:
        return str(error), "", ""


def find_target(text: str, cache_dir: str) -> Target:
    """Return the container that is called so.

    Args:
        text: a container ID or its beginning, a namespace's name or path, a process, a container of runc.
        cache_dir: the results that runtimes keep.

    Raises:
        CommandError: there is none, or several.
    """
    known = _known_containers(cache_dir)
    netns = find_named_netns(text)
    # A name is never taken for the beginning of another container's ID.
    matches = [text] if text in known else sorted(i for i in known if netns is None and is_short_id(text, i))
    if len(matches) > 1:
        raise CommandError(
            f"several containers begin with {text}", f"matching containers: {', '.join(matches)}"
        )
    if matches:
        path = next((p for p in known[matches[0]] if p and not has_vanished(p)), None)
        if path is None:
            raise CommandError(
                f"the namespace of container {matches[0]} is gone",
                "`shibafu network gc` frees what it left behind",
            )
        return Target(matches[0], path)
    if netns is None:
        raise CommandError(
            f"there is no container and no network namespace {text}",
            "name a container that is on a network already, a container of runc, a namespace that "
            "`ip netns list` shows, or a path such as /proc/4711/ns/net",
        )
    for container_id, paths in known.items():
        if any(os.path.exists(path) and os.path.samefile(path, netns) for path in paths):
            return Target(container_id, netns)
    if "/" not in text and is_valid_identifier(text):
        return Target(text, netns)
    return Target(calc_container_id(netns), netns)


def choose_endpoints(endpoints: list[Endpoint], text: str) -> list[Endpoint]:
    """Return the endpoints of a container, named by its ID, its namespace or the beginning of its ID.

    Raises:
        CommandError: the text is the beginning of several.
    """
    netns = find_named_netns(text)
    for is_meant in (
        lambda e: e.container_id == text,
        lambda e: netns is not None and os.path.exists(e.netns) and os.path.samefile(e.netns, netns),
        # What is the name of a namespace or container does not stand for another container besides.
        lambda e: netns is None and is_short_id(text, e.container_id),
    ):
        chosen = [endpoint for endpoint in endpoints if is_meant(endpoint)]
        if len({endpoint.container_id for endpoint in chosen}) > 1:
            names = ", ".join(sorted({endpoint.container_id for endpoint in chosen}))
            raise CommandError(f"several containers begin with {text}", f"matching containers: {names}")
        if chosen:
            return chosen
    return []


def find_named_netns(text: str) -> str | None:
    """Return the path of a namespace that is called so, or of the one of a container of runc or crun."""
    return find_netns(text) or _find_container(text)


def is_short_id(text: str, container_id: str) -> bool:
    """Return whether a text is the beginning of a hexadecimal container ID that can stand for it."""
    return (
        len(text) >= _MIN_PREFIX and container_id.startswith(text) and _ID.fullmatch(container_id) is not None
    )


def calc_container_id(netns: str) -> str:
    """Return what stands for the ID of a container of which only the namespace is known: cnitool's."""
    return f"cnitool-{hashlib.sha512(netns.encode()).hexdigest()[:20]}"


def _known_containers(cache_dir: str) -> dict[str, set[str]]:
    """Return the containers that are on any network, and the paths of their namespaces."""
    known: dict[str, set[str]] = {}
    for cached in cache_list(directory=cache_dir):
        known.setdefault(cached.container_id, set()).add(cached.netns)
    for name in list_recorded_networks():
        try:
            state = NetworkState(name)
            links = state.attachments()
        except (CniError, OSError):
            continue  # others could have forged them, say; looking at that network tells so
        for link in links:
            record = state.read_attachment(link)
            if record.owner is not None:
                known.setdefault(record.container_id, set()).add(record.netns)
    return known


def list_recorded_networks() -> list[str]:
    """Return the networks of which shibafu-bridge keeps records in this namespace."""
    try:
        return sorted(NetworkState("any").networks())
    except FileNotFoundError:
        return []


def _find_container(name: str) -> str | None:
    """Return the namespace of a running container of runc or crun."""
    if not is_valid_identifier(name):
        return None
    for path, key in (
        (f"/run/shibafu-runc/{name}/state.json", "init_process_pid"),
        (f"/run/runc/{name}/state.json", "init_process_pid"),
        (f"/run/crun/{name}/status", "pid"),
    ):
        try:
            with open(path, "rb") as file:
                netns = f"/proc/{json.load(file)[key]}/ns/net"
        except (OSError, ValueError, KeyError):
            continue
        if os.path.exists(netns):
            return netns
    return None
