"""What a runtime asks for: the environment table of the specification, validated."""

from shibafu.cni import version
from shibafu.cni.config import Section
from shibafu.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    CniError,
)
from shibafu.cni.names import MAX_FILE_NAME, is_valid_identifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Specification 1.1.0, section 2. (The reference also wants CNI_PATH everywhere; here it is asked for
# when another plugin has to be found.)
REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": ("CNI_PATH",),
    "STATUS": (),
}
_IFNAMSIZ = 16  # linux/if.h, with the terminating zero


class Request:
    """One call of a plugin.

    Args:
        command: the verb.
        env: the environment, as it was given.
        stdin: the network configuration, as it was given; delegates get the same bytes.
        config: the network configuration, parsed.
        cni_version: the configuration's version, a supported one.
    """

    __slots__ = ("cni_version", "command", "config", "env", "netns_number", "stdin")

    def __init__(
        self, command: str, env: "Mapping[str, str]", stdin: bytes, config: Section, cni_version: str
    ) -> None:
        self.command = command
        self.env = env
        self.stdin = stdin
        self.config = config
        self.cni_version = cni_version
        # Inode number and cookie of the namespace at CNI_NETNS, once the plugin that delegates knows them.
        self.netns_number: tuple[int, int | None] | None = None

    def of(self, command: str, env: "Mapping[str, str]") -> "Request":
        """Return another call with the same configuration.

        Args:
            command: the verb; what it needs has this call, too.
            env: the environment.
        """
        other = Request(command, env, self.stdin, self.config, self.cni_version)
        other.netns_number = self.netns_number
        return other

    @property
    def container_id(self) -> str:
        """CNI_CONTAINERID."""
        return self.env.get("CNI_CONTAINERID", "")

    @property
    def netns(self) -> str:
        """CNI_NETNS, the path of the container's network namespace; empty when it is gone (DEL)."""
        return self.env.get("CNI_NETNS", "")

    @property
    def ifname(self) -> str:
        """CNI_IFNAME, the link's name inside the container."""
        return self.env.get("CNI_IFNAME", "")

    @property
    def args(self) -> str:
        """CNI_ARGS, not parsed, since each plugin knows other keys."""
        return self.env.get("CNI_ARGS", "")

    @property
    def network(self) -> str:
        """The network's name."""
        return self.config.text("name")


def check_environment(env: "Mapping[str, str]", command: str) -> None:
    """Refuse an environment that lacks what the verb needs."""
    missing = [name for name in REQUIRED.get(command, ()) if not env.get(name)]
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")


def parse_request(
    env: "Mapping[str, str]",
    command: str,
    stdin: bytes,
    config: Section,
    supported: tuple[str, ...] = version.SUPPORTED,
) -> Request:
    """Validate everything that all plugins share, in the order of the reference.

    Args:
        env: the environment.
        command: the verb.
        stdin: the network configuration, as it was given.
        config: the network configuration, parsed.
        supported: the versions that the plugin speaks.

    Raises:
        CniError: with the code that the specification has for each case.
    """
    cni_version = _decode_text(config, "cniVersion", "decoding version from network config")
    cni_version = cni_version or version.DEFAULT
    name = _decode_text(config, "name", "error unmarshall network config")
    if not name:
        raise CniError(INVALID_CONFIG, "missing network name", 'add "name" to the network configuration')
    if not is_valid_identifier(name):
        raise CniError(INVALID_CONFIG, "invalid characters found in network name", name)
    # Of a network that cannot be there is nothing to remove.
    if len(name) > MAX_FILE_NAME and command not in ("DEL", "GC"):
        raise CniError(
            INVALID_CONFIG,
            f"network name is too long: it has {len(name)} characters",
            f'"name" may have at most {MAX_FILE_NAME} characters, as directories are named after it',
        )
    if command in ("ADD", "CHECK", "DEL"):
        _check_container_id(env["CNI_CONTAINERID"])
        _check_ifname(env["CNI_IFNAME"])
        if command != "DEL":
            _refuse_pattern(env["CNI_IFNAME"])
    if cni_version not in supported:
        listed = " ".join(f'"{v}"' for v in supported)
        raise CniError(
            INCOMPATIBLE_VERSION,
            "incompatible CNI versions",
            f'config is "{cni_version}", plugin supports [{listed}]',
        )
    if command not in REQUIRED:
        raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    if not version.allows_verb(cni_version, command):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"config version does not allow {command}",
            f'"cniVersion" is "{cni_version}", which does not have {command}',
        )
    return Request(command, env, stdin, config, cni_version)


def _decode_text(config: Section, key: str, failure: str) -> str:
    """Return a string without which the call cannot even be understood."""
    try:
        return config.text(key)
    except CniError as error:
        said = error.msg.partition(": ")[2].replace(f"{config.name}.", ".")
        raise CniError(DECODING_FAILURE, f"{failure}: {said}", error.details) from None


def _check_container_id(container_id: str) -> None:
    if not is_valid_identifier(container_id):
        raise CniError(INVALID_ENVIRONMENT, "invalid characters in containerID", container_id)


def _check_ifname(ifname: str) -> None:
    if not ifname.isascii():
        try:
            ifname.encode()
        except UnicodeEncodeError:
            raise CniError(
                INVALID_ENVIRONMENT, "interface name is not UTF-8", "CNI_IFNAME must be text in UTF-8"
            ) from None
    if len(ifname.encode()) >= _IFNAMSIZ:
        raise CniError(
            INVALID_ENVIRONMENT,
            "interface name is too long",
            f"interface name should be less than {_IFNAMSIZ} characters",
        )
    if ifname in (".", ".."):
        raise CniError(INVALID_ENVIRONMENT, "interface name is . or ..")
    if any(c in "/:" or c.isspace() for c in ifname):
        raise CniError(INVALID_ENVIRONMENT, "interface name contains / or : or whitespace characters")


def _refuse_pattern(ifname: str) -> None:
    if "%" in ifname:
        raise CniError(
            INVALID_ENVIRONMENT,
            "interface name contains %",
            f'the kernel would treat "{ifname}" as a pattern and replace it by a number',
        )
