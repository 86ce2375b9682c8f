"""Policies that networks' configurations state: the keys `policies` and `policyDir`.

They are the host's, like those in its directory: namespaces and selectors say what they are for, the network
does not matter.
"""

import os
from pathlib import Path
from stat import S_ISVTX, S_IWGRP, S_IWOTH

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shibafu.cni.config import Section
from shibafu.cni.errors import CniError
from shibafu.documents.document_files import read_document
from shibafu.documents.errors import DocumentError
from shibafu.documents.yaml_nodes import compose_documents
from shibafu.networks.stating_plugins import StatingPlugin, find_stating
from shibafu.policy.policy_documents import PolicySource, read_documents
from shibafu.policy.policy_files import NetworkPolicies, PolicyDirectory, list_policy_files
from shibafu.policy.stated_policies import POLICIES, POLICY_DIRECTORY, calc_stated_policies
from shibafu.runtime.conflist import ConflistError, list_networks

_MAX_SIZE = 1 << 24
_OTHERS = S_IWGRP | S_IWOTH


def open_policies(directory: str, conf_dir: str) -> PolicyDirectory:
    """Return the host's policies.

    Args:
        directory: the directory of policies.
        conf_dir: where networks are configured.
    """
    return PolicyDirectory(directory, lambda mistakes: read_network_policies(conf_dir, mistakes))


def read_network_policies(conf_dir: str, mistakes: list[str]) -> list[NetworkPolicies]:
    """Return what the configurations of networks state of policies.

    Args:
        conf_dir: where networks are configured.
        mistakes: gets what is wrong with it, files that are not networks included: policies that they state
            must not be lifted because of a typo.

    Raises:
        ConflistError: the directory cannot be listed.
    """
    broken: list[ConflistError] = []
    found = []
    for network in list_networks(conf_dir, broken):
        for plugin in find_stating(network, mistakes):
            try:
                found.append(_read_plugin(plugin))
            except DocumentError as error:
                mistakes.append(str(error))
            except (CniError, OSError) as error:
                mistakes.append(f"{plugin.path}: {_describe(error)}")
    mistakes.extend(error.msg for error in broken)
    return [one for one in found if one is not None]


def _read_plugin(plugin: StatingPlugin) -> NetworkPolicies | None:
    """Return what a plugin's configuration states.

    Raises:
        CniError: a key is malformed.
        DocumentError: a policy is.
        OSError: a file or a directory cannot be read.
    """
    digest = calc_stated_policies(plugin.section)
    if not digest:
        return None
    directory = plugin.section.text(POLICY_DIRECTORY)
    if directory and (danger := _find_danger(directory)):
        raise DocumentError(f'{plugin.path}: "{POLICY_DIRECTORY}" is not safe: {danger}')
    paths = list_policy_files(directory.rstrip("/") or "/") if directory else []
    return NetworkPolicies(digest, tuple(_read_inline(plugin)), tuple(paths))


def _read_inline(plugin: StatingPlugin) -> list[PolicySource]:
    """Return the policies that are written into the configuration of a plugin, with their lines."""
    text, name = read_document(plugin.path, _MAX_SIZE)
    # JSON is YAML but for tabs between values.
    (node,) = compose_documents(text.replace("\t", " "), name)
    if plugin.path == plugin.network.path and name.endswith(".conflist"):
        node = _list_items(_find_value(node, "plugins"))[plugin.number]
    for key in plugin.keys:
        node = _find_value(node, key) or node
    return read_documents(_list_items(_find_value(node, POLICIES)), name)


def _find_value(node: Node, key: str) -> Node | None:
    """Return a value of an object, whatever the case of its key is; None if it has none."""
    entries = node.value if isinstance(node, MappingNode) else []
    values: dict[str, object] = {key.value: value for key, value in entries if isinstance(key, ScalarNode)}
    found = Section(values, "NetConf").get(key)
    return found if isinstance(found, Node) else None


def _list_items(node: Node | None) -> list[Node]:
    return node.value if isinstance(node, SequenceNode) else []


def _find_danger(directory: str) -> str:
    """Return who else could put files into a directory, or another directory in its place; else nothing."""
    trusted = (0, os.geteuid())
    for start in (Path(os.path.abspath(directory)), Path(os.path.realpath(directory))):
        for path in (start, *start.parents):
            found = path.stat()
            if found.st_uid not in trusted:
                return f"{path} belongs to user {found.st_uid}: change that to root"
            # Above it, nobody can touch what is another's in a directory such as /tmp.
            if found.st_mode & _OTHERS and (path == start or not found.st_mode & S_ISVTX):
                return f"others can write to {path}: chmod go-w {path}"
    return ""


def _describe(error: CniError | OSError) -> str:
    if isinstance(error, CniError):
        return "; ".join(filter(None, (error.msg, error.details)))
    return f"{error.filename}: {(error.strerror or str(error)).lower()}"
