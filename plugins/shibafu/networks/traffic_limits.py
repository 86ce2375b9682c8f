"""Changing how fast a container receives and sends, while it runs.

Limits are a plugin's, shibafu-bandwidth: its ADD, called again, changes them in place. The runtime's cache
gets the chain, what was asked for and the result, as though the container had been attached so: CHECK and DEL
go by that.
"""

from shibafu.bandwidth.config import BandwidthConfig, Limit, build_limit
from shibafu.cni.config import Section
from shibafu.cni.delegate import find_plugin
from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_ifb, calc_reference_ifb
from shibafu.cni.result import parse_result
from shibafu.cni.version import SUPPORTED
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu.networks.inspect import GONE, Endpoint
from shibafu.runtime.cache import CachedAttachment, cache_read, cache_write
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import NetworkList, append_plugin, parse_conflist, replace_plugin
from shibafu.runtime.derivation import build_config, calc_environment, convert_result, describe_call
from shibafu.runtime.invoke import invoke_plugin
from shibafu.runtime.roles import ROLES, append_capable

CAPABILITY = "bandwidth"
_PLUGIN = "shibafu-bandwidth"
_KEYS = ("ingressrate", "ingressburst", "egressrate", "egressburst")

Plugin = dict[str, object]


def change_limits(
    runtime: Runtime, network: ConfiguredNetwork, endpoint: Endpoint, changes: dict[str, tuple[int, int]]
) -> BandwidthConfig:
    """Change the limits of a container's interface; return all of its limits.

    Args:
        runtime: calls the plugin.
        network: the network.
        endpoint: the container's interface on it.
        changes: by way, `ingress` or `egress`, bits a second, 0 for no limit, and how many bits may come at
            once, 0 to have that chosen. The other way's limit stays as it is.

    Raises:
        CniError: the plugin refuses; then all is remembered as it was.
        CommandError: nothing is known of the attachment, or the plugin is not installed.
    """
    stated = {way: build_limit(way, rate, burst) for way, (rate, burst) in changes.items()}
    what = f"{endpoint.container_id}, {endpoint.ifname} on network {network.name}"
    if endpoint.state == GONE:
        raise CommandError(f"the namespace of {what} is gone", "`shibafu network gc` removes what it held")
    _require_plugin(runtime)
    with runtime.lock_container(endpoint.container_id):
        cached = cache_read(network.name, *endpoint.key, runtime.cache_dir)
        if cached is None or cached.result is None:
            raise CommandError(
                f"no runtime keeps the result of {what} in {runtime.cache_dir}",
                "limit it by the configuration of its network, or attach it by `shibafu network connect`",
            )
        chain, plugin = _find_chain(runtime, runtime.find_attached_network(cached))
        now = BandwidthConfig(Section(build_config(chain, plugin, None, cached.capability_args), "NetConf"))
        wanted = {"ingress": now.ingress, "egress": now.egress} | stated
        return _change(runtime, cached, chain, plugin, wanted)


def adopt_limits(network: NetworkList, cached: CachedAttachment | None) -> NetworkList:
    """Return a network with the limits that a container was given in place of the network's own."""
    attached = read_attached_chain(cached)
    own = _find_plugin(attached) if attached is not None else None
    if own is None or own.get("type") != _PLUGIN or _states_limits(own):
        return network  # what the network says counts, and may have changed since
    stated = _find_plugin(network)
    if stated is None:
        return append_plugin(network, own, list(SUPPORTED))
    return replace_plugin(network, stated, own) if _states_limits(stated) else network


def _change(
    runtime: Runtime,
    cached: CachedAttachment,
    chain: NetworkList,
    plugin: Plugin,
    wanted: dict[str, Limit | None],
) -> BandwidthConfig:
    limits = {
        key: bits
        for way, limit in wanted.items()
        if limit is not None
        for key, bits in ((f"{way}Rate", limit.rate), (f"{way}Burst", limit.burst))
    }
    # What the plugin itself states goes before what a runtime hands over.
    handed_over = {key: value for key, value in plugin.items() if key.lower() not in _KEYS}
    handed_over |= {"type": _PLUGIN, "capabilities": {CAPABILITY: True}}
    chain = replace_plugin(chain, plugin, handed_over)
    changed = CachedAttachment(
        *cached.key,
        cached.netns,
        cached.result,
        cached.cni_args,
        cached.capability_args | {CAPABILITY: limits},
        chain.raw,
        cached.identity,
    )
    # Before the plugin is called: should this process be killed, DEL finds what it has made.
    cache_write(changed, runtime.cache_dir)
    try:
        changed.result = _call(runtime, chain, handed_over, changed, bool(limits))
        if wanted["egress"] is None:
            changed.result = _forget_delay_link(changed)
    except BaseException:
        cache_write(cached, runtime.cache_dir)
        raise
    cache_write(changed, runtime.cache_dir)
    return BandwidthConfig(Section(dict(limits), "NetConf"))


def _call(
    runtime: Runtime, chain: NetworkList, plugin: Plugin, changed: CachedAttachment, is_limited: bool
) -> dict[str, object]:
    """Have the plugin set the limits, or lift all there are; return the result."""
    verb = "ADD" if is_limited else "DEL"
    previous = convert_result(changed.result or {}, chain)
    config = build_config(chain, plugin, previous, changed.capability_args)
    env = calc_environment(runtime.env, runtime.plugin_path, verb, changed)
    try:
        answer = invoke_plugin(_require_plugin(runtime), env, config)
    except CniError as error:
        what = f"{describe_call(plugin, verb)}: {error.msg}"
        raise CniError(error.code, what, error.details) from None
    return previous if answer is None else convert_result(answer, chain)


def _forget_delay_link(changed: CachedAttachment) -> dict[str, object]:
    """Return the result without the link that what the container sent was delayed in."""
    network, container_id, ifname = changed.key
    result = parse_result(Section(changed.result or {}, "Result"))
    for name in (calc_ifb(network, container_id, ifname), calc_reference_ifb(network, container_id)):
        places = [place for place, link in enumerate(result.interfaces) if link.name == name]
        for place in reversed(places):
            del result.interfaces[place]
            for ip in result.ips:
                if ip.interface is not None and ip.interface > place:
                    ip.interface -= 1
    return result.to_json(str((changed.result or {}).get("cniVersion")))


def _find_chain(runtime: Runtime, attached: NetworkList) -> tuple[NetworkList, Plugin]:
    """Return a container's chain with a plugin that limits it, and that plugin."""
    plugin = _find_plugin(attached)
    if plugin is None:
        attached = append_capable(runtime, attached, CAPABILITY) or attached
        plugin = attached.plugins[-1]
    return attached, plugin


def _find_plugin(network: NetworkList) -> Plugin | None:
    types = ROLES[CAPABILITY]
    return next((plugin for plugin in network.plugins if plugin.get("type") in types), None)


def read_attached_chain(cached: CachedAttachment | None) -> NetworkList | None:
    """Return the chain that a container was attached by; None where that is not known."""
    try:
        return parse_conflist(cached.config, f"cache of {cached.network}") if cached is not None else None
    except CniError:
        return None  # some runtimes keep a single plugin, which is no list


def _states_limits(plugin: Plugin) -> bool:
    return any(key.lower() in _KEYS for key in plugin)


def _require_plugin(runtime: Runtime) -> str:
    try:
        return find_plugin(_PLUGIN, ":".join(runtime.plugin_path))
    except CniError as error:
        raise CommandError(error.msg, f"install {_PLUGIN} there, or name its directory: --cni-path") from None
