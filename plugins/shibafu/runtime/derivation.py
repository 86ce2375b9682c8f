"""What a plugin of a chain is called with, and how its answer is read: pure, nothing is called here."""

from shibafu.cni.args import is_valid_value, join_args
from shibafu.cni.config import Section
from shibafu.cni.errors import INCOMPATIBLE_VERSION, CniError
from shibafu.cni.request import parse_request
from shibafu.cni.result import parse_result
from shibafu.cni.version import DEFAULT, SUPPORTED, result_group
from shibafu.runtime.cache import CachedAttachment
from shibafu.runtime.conflist import NetworkList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# How errors call the verbs, as libcni does.
_VERBS = {"ADD": "add", "CHECK": "check", "DEL": "delete", "GC": "gc", "STATUS": "status"}
# Of a plugin's configuration: what the runtime writes itself, and what is meant for the runtime only.
_REPLACED = ("name", "cniversion", "capabilities")


def build_config(
    network: NetworkList,
    plugin: "Mapping[str, object]",
    prev_result: dict[str, object] | None = None,
    capabilities: "Mapping[str, object] | None" = None,
) -> dict[str, object]:
    """Return what a plugin of a chain reads; see the specification, "Deriving runtime configuration".

    Args:
        network: whose name and version it gets.
        plugin: its part of the network's configuration.
        prev_result: the result of the plugins before it.
        capabilities: what the runtime has; the plugin gets that whose capability it declares.
    """
    config = {key: value for key, value in plugin.items() if key.lower() not in _REPLACED}
    config |= {"name": network.name, "cniVersion": network.cni_version or DEFAULT}
    if prev_result is not None:
        config["prevResult"] = prev_result
    declared = Section(dict(plugin), "NetConf").section("capabilities").values
    wanted = {key: value for key, value in (capabilities or {}).items() if declared.get(key) is True}
    if wanted:
        config["runtimeConfig"] = wanted
    return config


def calc_environment(
    env: "Mapping[str, str]", plugin_path: list[str], command: str, attachment: CachedAttachment | None = None
) -> dict[str, str]:
    """Return the environment that a plugin is called with.

    Args:
        env: what it has besides.
        plugin_path: the directories of the plugins.
        command: the verb.
        attachment: what the verb is about; None for a network as a whole.
    """
    whole = dict(env) | {"CNI_COMMAND": command, "CNI_PATH": ":".join(plugin_path)}
    if attachment is not None:
        whole |= {
            "CNI_CONTAINERID": attachment.container_id,
            "CNI_NETNS": attachment.netns,
            "CNI_IFNAME": attachment.ifname,
            "CNI_ARGS": join_args(attachment.cni_args),
        }
    return whole


def validate_call(network: NetworkList, command: str, attachment: CachedAttachment | None = None) -> None:
    """Refuse by the plugins' own rules what none of them may be given.

    Raises:
        CniError: the network's name or version, the container ID or the interface name.
    """
    env = {"CNI_CONTAINERID": attachment.container_id, "CNI_IFNAME": attachment.ifname} if attachment else {}
    identity: dict[str, object] = {"name": network.name, "cniVersion": network.cni_version}
    parse_request(env, command, b"", Section(identity, "NetConf"))


def find_missing_verb(network: NetworkList, command: str, attachment: CachedAttachment | None = None) -> str:
    """Return why a valid network has not got a verb, in words; empty when it has.

    Raises:
        CniError: as `validate_call` does, but for a version that is older than the verb.
    """
    try:
        validate_call(network, command, attachment)
    except CniError as error:
        version = network.cni_version or DEFAULT
        if error.code == INCOMPATIBLE_VERSION and version in SUPPORTED:
            return f"version {version} has no {command}"
        raise
    return ""


def convert_result(result: dict[str, object], network: NetworkList) -> dict[str, object]:
    """Return a result in the shape of the network's version.

    Raises:
        CniError: it is not a result.
    """
    version = network.cni_version or DEFAULT
    section = Section(result, "Result")
    stated = section.text("cniVersion") or version
    if stated in result_group(version):
        return {key: value for key, value in result.items() if key.lower() != "cniversion"} | {
            "cniVersion": version
        }
    return parse_result(section).to_json(version)


def describe_call(plugin: "Mapping[str, object]", command: str) -> str:
    """Return how a failure begins, in libcni's words."""
    section = Section(dict(plugin), "NetConf")
    name = f' name="{section.text("name")}"' if "name" in section else ""
    return f'plugin type="{section.text("type")}"{name} failed ({_VERBS[command]})'


def drop_invalid_args(args: "Mapping[str, str]") -> dict[str, str]:
    """Return cached CNI_ARGS without what cannot be in them; that must not keep a container attached."""
    return {key: value for key, value in args.items() if is_valid_value(key) and is_valid_value(value)}
