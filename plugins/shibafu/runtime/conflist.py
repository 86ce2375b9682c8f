"""Network configurations: the files of /etc/cni/net.d, read as libcni reads them.

Files are looked through in the order of their names, first `*.conflist`, then the older `*.conf` and
`*.json`, which hold a single plugin. One that cannot be parsed hides all that come after it: a network
must not change into another of the same name because of a typo.
"""

import os
from errno import ENOENT

from shibafu.cni.config import Section, parse_config
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import is_valid_identifier
from shibafu.cni.version import LATEST
from shibafu.lean.files import NotRegularError, read_file
from shibafu.lean.json import dumps

DIRECTORY = "/etc/cni/net.d"
_MAX_SIZE = 1 << 24
_SINGLE = (".conf", ".json")
_BOOLEANS = {"true": True, "false": False}


class ConflistError(CniError):
    """A network configuration that cannot be used.

    Args:
        path: the file, or the directory that has no such network.
        problem: what is wrong with it, or what to change.
        details: the same in the words of the reference.
    """

    def __init__(self, path: str, problem: str, details: str = "") -> None:
        super().__init__(INVALID_CONFIG, f"{path}: {problem}", details)
        self.path = path


class NetworkNotFound(ConflistError):
    """No file of the directory configures the network.

    Args:
        directory: where it was looked for.
        name: the network's name.
    """

    def __init__(self, directory: str, name: str) -> None:
        super().__init__(directory, "")
        self.msg = f'no net configuration with name "{name}" in {directory}'  # as libcni says it
        self.args = (self.msg,)


class NetworkList:
    """A network: plugins that are called one after the other.

    Args:
        name: the network's name.
        cni_version: the version that the plugins are called with; empty when none is stated.
        plugins: the plugins' configurations, as they were written.
        disable_check: whether CHECK does nothing.
        disable_gc: whether GC does nothing.
        raw: the whole as one JSON document; `parse_conflist` makes the same network of it.
        path: the file.

    Attributes:
        plugin_paths: the file of each plugin's configuration.
    """

    __slots__ = (
        "cni_version",
        "disable_check",
        "disable_gc",
        "name",
        "path",
        "plugin_paths",
        "plugins",
        "raw",
    )

    def __init__(
        self,
        name: str,
        cni_version: str,
        plugins: list[dict[str, object]],
        disable_check: bool,
        disable_gc: bool,
        raw: bytes,
        path: str,
    ) -> None:
        self.name = name
        self.cni_version = cni_version
        self.plugins = plugins
        self.disable_check = disable_check
        self.disable_gc = disable_gc
        self.raw = raw
        self.path = path
        self.plugin_paths = [path] * len(plugins)


def find_network(name: str, directory: str = DIRECTORY) -> NetworkList:
    """Return the first network of that name.

    Raises:
        NetworkNotFound: there is none.
        ConflistError: a file before it cannot be parsed.
    """
    for path in _list_files(directory):
        network = load_conflist(path)
        if network.name == name:
            return network
    raise NetworkNotFound(directory, name)


def list_networks(directory: str = DIRECTORY, broken: list[ConflistError] | None = None) -> list[NetworkList]:
    """Return all networks that `find_network` finds, in the order of the files.

    Args:
        directory: where they are configured.
        broken: takes the errors of files that cannot be parsed; None to raise the first of them.

    Raises:
        ConflistError: a file cannot be parsed.
    """
    networks: dict[str, NetworkList] = {}
    for path in _list_files(directory):
        try:
            network = load_conflist(path)
        except ConflistError as error:
            if broken is None:
                raise
            broken.append(error)
            continue
        if network.name:  # a single plugin need not have one; then no network can be found by it
            networks.setdefault(network.name, network)
    return list(networks.values())


def load_conflist(path: str) -> NetworkList:
    """Read one file; one that is not named *.conflist contains a single plugin.

    Raises:
        ConflistError: it cannot be read, or is not a network configuration.
    """
    raw = _read_file(path)
    if path.endswith(_SINGLE):
        return _upconvert(raw, path)
    network = parse_conflist(raw, path)
    document = parse_config(raw)
    if not _parse_boolean(document, "loadOnlyInlinedPlugins"):
        _append_plugins(network, document)
    if not network.plugins:
        raise ConflistError(path, 'no plugin configs found: "plugins" must list at least one')
    return network


def parse_conflist(raw: bytes, path: str) -> NetworkList:
    """Parse a list with the plugins that are written in it.

    Args:
        raw: the JSON document.
        path: what errors call it.

    Raises:
        ConflistError: it is not a network configuration.
    """
    try:
        document = parse_config(raw)
        name = document.text("name")
        plugins = [_parse_plugin(plugin) for plugin in document.sections("plugins")]
        if not name and not path.endswith(_SINGLE):
            raise ConflistError(path, 'no name: add "name"')
        if "plugins" not in document and _parse_boolean(document, "loadOnlyInlinedPlugins"):
            raise ConflistError(path, '"loadOnlyInlinedPlugins" is true, and there is no "plugins" key')
        return NetworkList(
            name,
            _choose_version(document),
            plugins,
            _parse_boolean(document, "disableCheck"),
            _parse_boolean(document, "disableGC"),
            raw,
            path,
        )
    except ConflistError:
        raise
    except CniError as error:
        raise _refusal(path, error) from None


def append_plugin(network: NetworkList, plugin: dict[str, object], supported: list[str]) -> NetworkList:
    """Return the network with one more plugin at the end of its chain.

    Args:
        network: the network.
        plugin: the plugin's configuration.
        supported: the versions that it knows; the highest that the network states, too, is taken.

    Raises:
        ConflistError: there is none.
    """
    document = parse_config(network.raw)
    stated = [document.text("cniVersion"), *document.texts("cniVersions")]
    shared = [version for version in stated if version in supported]
    if not shared:
        raise ConflistError(
            network.path,
            f'plugin "{plugin["type"]}" supports none of the versions {", ".join(filter(None, stated))}: '
            f'add one of {", ".join(supported) or "its"} to "cniVersions"',
        )
    return _rewrite(network, max(shared, key=_sort_key), [*network.plugins, plugin])


def replace_plugin(network: NetworkList, former: dict[str, object], plugin: dict[str, object]) -> NetworkList:
    """Return the network with another plugin in the place of one of its own."""
    plugins = [plugin if one is former else one for one in network.plugins]
    return _rewrite(network, network.cni_version, plugins)


def declare_capability(network: NetworkList, plugin_types: tuple[str, ...], capability: str) -> NetworkList:
    """Return the network with a capability declared by its plugins of some types."""
    plugins: list[dict[str, object]] = []
    for plugin in network.plugins:
        section = Section(plugin, "NetConf")
        if section.text("type") in plugin_types:
            declared = section.section("capabilities").values | {capability: True}
            others = {key: value for key, value in plugin.items() if key.lower() != "capabilities"}
            plugins.append(others | {"capabilities": declared})
        else:
            plugins.append(plugin)
    return _rewrite(network, network.cni_version, plugins)


def _rewrite(network: NetworkList, version: str, plugins: list[dict[str, object]]) -> NetworkList:
    whole: dict[str, object] = {
        "cniVersion": version,
        "name": network.name,
        "disableCheck": network.disable_check,
        "disableGC": network.disable_gc,
        "loadOnlyInlinedPlugins": True,
        "plugins": plugins,
    }
    return parse_conflist(dumps(whole).encode("utf-8", "surrogateescape"), network.path)


def _refusal(path: str, error: CniError) -> ConflistError:
    """Return the error with the file's name: what to change is for people, the rest for search engines."""
    is_syntax = error.msg.startswith("error unmarshall")
    problem = error.msg if is_syntax or not error.details else error.details
    # What is said of syntax is about standard input, where plugins read theirs.
    return ConflistError(path, problem, "" if is_syntax else error.msg)


def _upconvert(raw: bytes, path: str) -> NetworkList:
    """Make a list of a single plugin; it keeps its name and version, as it does in libcni."""
    try:
        plugin = parse_config(raw)
        _parse_plugin(plugin)
        document: dict[str, object] = {
            "name": plugin.text("name"),
            "cniVersion": plugin.text("cniVersion"),
            "plugins": [plugin.values],
        }
    except CniError as error:
        if 'add "type"' in error.details:
            raise ConflistError(
                path, 'missing "type"; a list of plugins must be in a file named *.conflist'
            ) from None
        raise _refusal(path, error) from None
    return parse_conflist(dumps(document).encode(), path)


def _append_plugins(network: NetworkList, document: Section) -> None:
    """Add the plugins that are configured in files of their own, in the directory of the network's name."""
    if not is_valid_identifier(network.name):
        return  # it would lead elsewhere, and no such network can be used
    directory = f"{os.path.dirname(network.path) or '.'}/{network.name}"
    paths = [path for path in _list_directory(directory) if path.endswith(".conf")]
    for path in paths:
        try:
            network.plugins.append(_parse_plugin(parse_config(_read_file(path))))
            network.plugin_paths.append(path)
        except ConflistError:
            raise
        except CniError as error:
            raise _refusal(path, error) from None
    if paths:
        # What is cached must name all plugins that were called, whatever becomes of their files.
        whole = document.values | {"plugins": network.plugins, "loadOnlyInlinedPlugins": True}
        network.raw = dumps(whole).encode()


def _parse_plugin(plugin: Section) -> dict[str, object]:
    if not plugin.text("type"):
        raise CniError(INVALID_CONFIG, "missing 'type'", 'missing "type" of a plugin: add "type"')
    for capability, supported in plugin.section("capabilities").values.items():
        if not isinstance(supported, bool):
            raise plugin.section("capabilities").wrong_type(capability, supported, "bool")
    return plugin.values


def _parse_boolean(document: Section, key: str) -> bool:
    """Return a boolean, which may also be written as text."""
    value = document.get(key)
    if isinstance(value, str):
        value = _BOOLEANS.get(value.lower(), value)
    if isinstance(value, str):
        raise document.wrong_type(key, value, "bool")
    return document.flag(key) if not isinstance(value, bool) else value


def _choose_version(document: Section) -> str:
    """Return the highest of the stated versions that is known here.

    `cniVersion` alone is left as it is: a plugin refuses it, should it not know it.
    """
    stated = document.text("cniVersion")
    others = document.texts("cniVersions")
    if not others:
        return stated
    known = [version for version in [stated, *others] if version and _sort_key(version) <= _sort_key(LATEST)]
    return max(known, key=_sort_key, default=stated)


def _sort_key(version: str) -> list[int]:
    try:
        numbers = [int(number) for number in version.split(".")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3:
        raise CniError(
            INVALID_CONFIG,
            f"invalid version {version}",
            f'"{version}" in "cniVersions" is not a version such as {LATEST}',
        )
    return numbers + [0] * (3 - len(numbers))


def _list_files(directory: str) -> list[str]:
    paths = _list_directory(directory)
    return [p for p in paths if p.endswith(".conflist")] + [p for p in paths if p.endswith(_SINGLE)]


def _list_directory(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConflistError(directory, f"cannot be listed: {error.strerror}") from None
    return [f"{directory}/{name}" for name in sorted(names) if not os.path.isdir(f"{directory}/{name}")]


def _read_file(path: str) -> bytes:
    try:
        # An administrator may have linked it from elsewhere; but nobody waits for the other end of a FIFO.
        content = read_file(path, _MAX_SIZE, follow=True)
    except NotRegularError as error:
        raise ConflistError(path, f"{error.strerror}: remove it") from None
    except OSError as error:
        raise ConflistError(path, f"cannot be read: {error.strerror}") from None
    if content is None:
        raise ConflistError(path, f"cannot be read: {os.strerror(ENOENT)}")
    return content
