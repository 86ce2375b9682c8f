"""Chains of plugins: ADD, CHECK, DEL, GC and STATUS of a network, as the specification's section 3 says.

What libcni leaves to its caller is done here: a failed ADD is undone, one container has one operation
at a time, GC runs alone on its network, and the cache is written atomically.
"""

import os

from shibafu.cni import lock
from shibafu.cni.args import join_args
from shibafu.cni.config import Section
from shibafu.cni.delegate import find_plugin
from shibafu.cni.errors import CHECK_FAILED, DELEGATE, INVALID_ENVIRONMENT, CniError, attempt, merge_errors
from shibafu.cni.lock import Lock
from shibafu.cni.names import calc_file_name, is_valid_identifier
from shibafu.cni.version import DEFAULT, allows_verb
from shibafu.resource.identity import identify_netns
from shibafu.runtime import cache, conflist
from shibafu.runtime.cache import (
    CachedAttachment,
    cache_list,
    cache_read,
    cache_remove,
    cache_write,
    refuse_long_key,
)
from shibafu.runtime.conflist import NetworkList, find_network, parse_conflist
from shibafu.runtime.derivation import (
    build_config,
    calc_environment,
    convert_result,
    describe_call,
    drop_invalid_args,
    find_missing_verb,
    validate_call,
)
from shibafu.runtime.invoke import find_executable, invoke_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Runtime:
    """Calls the plugins of networks.

    Args:
        plugin_path: the directories of the plugins, in the order of CNI_PATH.
        cache_dir: the cache of results.
        conf_dir: where networks are configured.
        env: what plugins have in their environment besides CNI_*; None for this process's.
        lock_dir: where locks are.
    """

    __slots__ = ("_containers", "cache_dir", "conf_dir", "env", "lock_dir", "plugin_path")

    def __init__(
        self,
        plugin_path: list[str],
        cache_dir: str = cache.DIRECTORY,
        conf_dir: str = conflist.DIRECTORY,
        env: "Mapping[str, str] | None" = None,
        lock_dir: str = lock.DIRECTORY,
    ) -> None:
        self.plugin_path = plugin_path
        self.cache_dir = cache_dir
        self.conf_dir = conf_dir
        inherited = os.environ if env is None else env
        self.env = {
            key: value
            for key, value in inherited.items()
            # A runtime may itself have been called by one; CNI_NETNS_OVERRIDE is the administrator's.
            if not key.startswith("CNI_") or key == "CNI_NETNS_OVERRIDE"
        }
        self.lock_dir = lock_dir
        self._containers: dict[str, Lock] = {}

    def lock_container(self, container_id: str) -> Lock:
        """Return the container's lock, to be held by `with` round several operations on it.

        Raises:
            CniError: no container can have that ID.
        """
        if not is_valid_identifier(container_id):
            raise CniError(INVALID_ENVIRONMENT, "invalid characters in containerID", container_id)
        if container_id not in self._containers:
            self._containers[container_id] = Lock(
                calc_file_name("container", container_id),
                f"container {container_id}",
                directory=self.lock_dir,
            )
        return self._containers[container_id]

    # Networks

    def find_network(self, name: str) -> NetworkList:
        """Return the network of that name; see `conflist.find_network`."""
        return find_network(name, self.conf_dir)

    def find_attached_network(self, attachment: CachedAttachment) -> NetworkList:
        """Return an attachment's network as it was when the container was attached.

        Where the cache does not tell, as it is now.

        Raises:
            ConflistError: it is in neither place.
        """
        if attachment.config:
            try:
                network = parse_conflist(attachment.config, f"cache of {attachment.network}")
            except conflist.ConflistError:
                pass  # podman and others may cache a single plugin, which is not a list
            else:
                if network.plugins:
                    return network
        return self.find_network(attachment.network)

    # Verbs

    def add(
        self,
        network: NetworkList,
        container_id: str,
        netns: str,
        ifname: str,
        args: "Mapping[str, str] | None" = None,
        capabilities: "Mapping[str, object] | None" = None,
    ) -> dict[str, object]:
        """Attach a container and return the last plugin's result.

        Args:
            network: the network.
            container_id: the container.
            netns: the path of its network namespace.
            ifname: the link that it gets.
            args: CNI_ARGS.
            capabilities: what plugins that declare the capability get as runtimeConfig.

        Raises:
            CniError: the container is attached already, or a plugin failed, and what was done is undone.
        """
        attachment = CachedAttachment(
            network.name,
            container_id,
            ifname,
            netns,
            None,
            args,
            capabilities,
            network.raw,
            identify_netns(netns),
        )
        validate_call(network, "ADD", attachment)
        refuse_long_key(attachment)
        join_args(attachment.cni_args)  # refused before anything is done
        paths = self._find_plugins(network)
        with self.lock_container(container_id), self._lock_network(network.name, shared=True):
            former = cache_read(*attachment.key, self.cache_dir)
            if former is not None and former.has_certainly_ended():
                # The container was started again, and its DEL has never come.
                self._delete_ended(network, former)
            elif former is not None:
                raise CniError(
                    INVALID_ENVIRONMENT,
                    f'container {container_id} is attached to network "{network.name}" as {ifname} already: '
                    "detach it first",
                )
            try:
                for plugin, path in zip(network.plugins, paths, strict=True):
                    attachment.result = self._add_plugin(network, plugin, path, attachment)
                cache_write(attachment, self.cache_dir)
            except BaseException:
                # After Ctrl-C, too, a container is attached wholly or not at all.
                self._undo(network, paths, attachment)
                raise
        return attachment.result or {}

    def check(
        self,
        network: NetworkList,
        container_id: str,
        netns: str,
        ifname: str,
        args: "Mapping[str, str] | None" = None,
        capabilities: "Mapping[str, object] | None" = None,
    ) -> str:
        """See that a container's attachment is as ADD left it.

        `args` and `capabilities` are those of ADD; None takes them from the cache.

        Returns:
            Why no plugin was asked; empty when all were.

        Raises:
            CniError: a plugin found a difference, or nothing is known of the attachment.
        """
        if network.disable_check:
            return "disableCheck is set"
        given = CachedAttachment(network.name, container_id, ifname, netns)
        missing = find_missing_verb(network, "CHECK", given)
        if missing:
            return missing
        with self.lock_container(container_id), self._lock_network(network.name, shared=True):
            attachment = self._complete(given, args, capabilities)
            if attachment.result is None:
                raise CniError(
                    CHECK_FAILED,
                    f'container {container_id} is not attached to network "{network.name}" as {ifname}: '
                    "there is no cached result",
                )
            prev_result = convert_result(attachment.result, network)
            for plugin, path in zip(network.plugins, self._find_plugins(network), strict=True):
                self._call("CHECK", network, plugin, path, attachment, prev_result)
        return ""

    def delete(
        self,
        network: NetworkList,
        container_id: str,
        netns: str,
        ifname: str,
        args: "Mapping[str, str] | None" = None,
        capabilities: "Mapping[str, object] | None" = None,
    ) -> None:
        """Detach a container; that it is not attached is all right.

        Args:
            network: the network.
            container_id: the container.
            netns: the path of its network namespace; empty when that is gone.
            ifname: its link.
            args: those of ADD; None takes them from the cache.
            capabilities: likewise.

        Raises:
            CniError: a plugin failed; those before it in the chain were not called, and the cache is kept.
        """
        given = CachedAttachment(network.name, container_id, ifname, netns)
        validate_call(network, "DEL", given)
        with self.lock_container(container_id), self._lock_network(network.name, shared=True):
            attachment = self._complete(given, args, capabilities)
            attachment.cni_args = drop_invalid_args(attachment.cni_args)
            self._delete(network, attachment)

    def gc(self, network: NetworkList, valid: "Iterable[tuple[str, str]]") -> None:
        """Free everything that a network has for other than the valid attachments.

        Args:
            network: the network.
            valid: container ID and interface name of each attachment that is to stay.

        Raises:
            CniError: everything that failed; nothing of it kept the rest from being done.
        """
        if network.disable_gc:
            return
        has_gc = not find_missing_verb(network, "GC")
        keep = set(valid)
        errors: list[CniError] = []
        # The containers are not locked: an operation that holds its container waits for the network.
        with self._lock_network(network.name, shared=False):
            for attachment in cache_list(network.name, directory=self.cache_dir, broken=errors):
                if (attachment.container_id, attachment.ifname) not in keep:
                    attempt(errors, self._delete_ended, network, attachment)
            if has_gc:
                for plugin in network.plugins:
                    attempt(errors, self._gc_plugin, network, plugin, keep)
        if errors:
            raise merge_errors(errors)

    def status(self, network: NetworkList) -> str:
        """See whether ADD would work.

        Returns:
            Why no plugin was asked, though all of them are there; empty when they were.

        Raises:
            CniError: the first plugin that cannot work.
        """
        missing = find_missing_verb(network, "STATUS")
        paths = self._find_plugins(network)
        for plugin in network.plugins:
            self._find_delegate(plugin)
        if not missing:
            for plugin, path in zip(network.plugins, paths, strict=True):
                self._call("STATUS", network, plugin, path)
        return missing

    # Steps

    def _find_plugins(self, network: NetworkList) -> list[str]:
        """Return the executables of the whole chain, before the first of them is run."""
        return [self._find_plugin(plugin) for plugin in network.plugins]

    def find_plugin(self, plugin_type: str) -> str:
        """Return the path of a plugin's executable; those of this suite also in this program's folder.

        Raises:
            CniError: there is none.
        """
        return find_executable(plugin_type, self.plugin_path)

    def _find_plugin(self, plugin: dict[str, object]) -> str:
        return self.find_plugin(Section(plugin, "NetConf").text("type"))

    def _find_delegate(self, plugin: dict[str, object]) -> None:
        """See that the IPAM plugin which a plugin names is there, too (the specification's section 4)."""
        delegate = Section(plugin, "NetConf").section("ipam").text("type")
        if delegate:
            find_plugin(delegate, ":".join(self.plugin_path))

    def _lock_network(self, name: str, shared: bool) -> Lock:
        return Lock(calc_file_name("network", name), f"network {name}", shared, self.lock_dir)

    def _complete(
        self,
        given: CachedAttachment,
        args: "Mapping[str, str] | None",
        capabilities: "Mapping[str, object] | None",
    ) -> CachedAttachment:
        """Return the attachment with what is cached; what the caller says takes precedence."""
        cached = cache_read(*given.key, self.cache_dir)
        known = cached or given
        return CachedAttachment(
            *given.key,
            given.netns,
            known.result,
            known.cni_args if args is None else args,
            known.capability_args if capabilities is None else capabilities,
        )

    def _add_plugin(
        self, network: NetworkList, plugin: dict[str, object], path: str, attachment: CachedAttachment
    ) -> dict[str, object]:
        result = self._call("ADD", network, plugin, path, attachment, attachment.result)
        if result is None:
            raise CniError(DELEGATE, f"{describe_call(plugin, 'ADD')}: it printed no result")
        return convert_result(result, network)

    def _undo(self, network: NetworkList, paths: list[str], attachment: CachedAttachment) -> None:
        """Call DEL of the whole chain after a failed ADD; the error that is reported is the ADD's."""
        prev_result = self._calc_del_result(network, attachment)
        for plugin, path in reversed(list(zip(network.plugins, paths, strict=True))):
            attempt([], self._call, "DEL", network, plugin, path, attachment, prev_result)

    def _delete(self, network: NetworkList, attachment: CachedAttachment) -> None:
        prev_result = self._calc_del_result(network, attachment)
        plugins = list(zip(network.plugins, self._find_plugins(network), strict=True))
        for plugin, path in reversed(plugins):
            self._call("DEL", network, plugin, path, attachment, prev_result)
        cache_remove(*attachment.key, self.cache_dir)

    def _choose_network(self, attachment: CachedAttachment, network: NetworkList) -> NetworkList:
        """Return the network that an attachment was made with; as it is now where that is not known."""
        try:
            return self.find_attached_network(attachment)
        except CniError:
            return network

    def _delete_ended(self, network: NetworkList, attachment: CachedAttachment) -> None:
        """Delete an attachment that nobody asked to delete, by the chain that it was made with."""
        # The number may belong to another process, and the path to another namespace.
        if attachment.netns.startswith("/proc/") or attachment.has_certainly_ended():
            attachment.netns = ""
        attachment.cni_args = drop_invalid_args(attachment.cni_args)
        self._delete(self._choose_network(attachment, network), attachment)

    def _calc_del_result(
        self, network: NetworkList, attachment: CachedAttachment
    ) -> dict[str, object] | None:
        """Return prevResult for DEL: absent from old versions, and where it is no longer valid."""
        if attachment.result is None or not allows_verb(network.cni_version or DEFAULT, "CHECK"):
            return None
        try:
            return convert_result(attachment.result, network)
        except CniError:
            return None  # plugins must do without, and a container must not be kept by a bad cache

    def _gc_plugin(self, network: NetworkList, plugin: dict[str, object], keep: set[tuple[str, str]]) -> None:
        listed = [{"containerID": container_id, "ifname": ifname} for container_id, ifname in sorted(keep)]
        # The second key is that of libcni's drafts, which plugins of the time look at.
        valid = {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed}
        self._call("GC", network, plugin | valid, self._find_plugin(plugin))

    def _call(
        self,
        command: str,
        network: NetworkList,
        plugin: dict[str, object],
        path: str,
        attachment: CachedAttachment | None = None,
        prev_result: dict[str, object] | None = None,
    ) -> dict[str, object] | None:
        env = calc_environment(self.env, self.plugin_path, command, attachment)
        capabilities = attachment.capability_args if attachment is not None else {}
        try:
            return invoke_plugin(path, env, build_config(network, plugin, prev_result, capabilities))
        except CniError as error:
            what = f"{describe_call(plugin, command)}: {error.msg}"
            raise CniError(error.code, what, error.details) from None
