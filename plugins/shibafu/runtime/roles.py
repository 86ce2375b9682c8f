"""Plugins by their roles: who publishes a port, or limits bandwidth, on a network that says nothing of it.

A chain need not have a plugin for everything that somebody may ask for: it would be started for every
container. One that asks for it gets its chain with that plugin at the end, and the cache keeps
this chain for its DEL.
"""

from shibafu.cni.config import Section
from shibafu.cni.errors import CniError
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import NetworkList, append_plugin, declare_capability
from shibafu.runtime.invoke import invoke_plugin

# A capability, and the plugins that have it, ours first.
ROLES = {"portMappings": ("shibafu-portmap", "portmap"), "bandwidth": ("shibafu-bandwidth", "bandwidth")}
# Under each of its names, and what hands it over to them. The reference's passes over what it does not know.
_BRIDGES = ("shibafu-bridge", "bridge", "shibafu-overlay", "flannel")


def has_capability(network: NetworkList, capability: str) -> bool:
    """Return whether a plugin of the chain declares a capability."""
    return any(
        Section(plugin, "NetConf").section("capabilities").values.get(capability) is True
        for plugin in network.plugins
    )


def append_capable(runtime: Runtime, network: NetworkList, capability: str) -> NetworkList | None:
    """Return the network with a plugin of that capability at the end of its chain.

    Returns:
        None when no such plugin is installed.

    Raises:
        CniError: the plugin does not know any version that the network states.
    """
    for plugin_type in ROLES.get(capability, ()):
        try:
            path = runtime.find_plugin(plugin_type)
        except CniError:
            continue  # not installed
        plugin: dict[str, object] = {"type": plugin_type, "capabilities": {capability: True}}
        if capability == "portMappings" and (backend := _find_backend(network)):
            plugin["backend"] = backend
        return append_plugin(network, plugin, _ask_versions(runtime, path, network))
    return None


def tell_ports(network: NetworkList) -> NetworkList:
    """Return the network with a bridge plugin that is told of published ports, which have it set up rules."""
    return declare_capability(network, _BRIDGES, "portMappings")


def _find_backend(network: NetworkList) -> str:
    """Return what the network masquerades with, if that is stated: published ports are made with it, too."""
    plugins = [Section(plugin, "NetConf") for plugin in network.plugins]
    stated = (
        section.text("ipMasqBackend")
        for plugin in plugins
        for section in (plugin, plugin.section("delegate"))
    )
    return next(filter(None, stated), "")


def _ask_versions(runtime: Runtime, path: str, network: NetworkList) -> list[str]:
    answer = invoke_plugin(
        path, runtime.env | {"CNI_COMMAND": "VERSION"}, {"cniVersion": network.cni_version or "0.1.0"}
    )
    return Section(answer or {}, "VERSION").texts("supportedVersions")
