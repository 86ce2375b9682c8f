"""What network policies find a container by, as flags and annotations state it."""

from shibafu.cni.args import is_valid_value
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.hook.allowed_values import PREFIX, split_items
from shibafu.policy.pod_identity import calc_identity_args, parse_named_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LABELS = "labels."
# What separates labels, and their parts, in CNI_ARGS.
_SEPARATORS = frozenset(",:!")


def parse_policy_args(given: "Mapping[str, str]") -> dict[str, str]:
    """Return pairs of CNI_ARGS, of which plugins that do not know them pass over.

    Args:
        given: what is stated, by the names of annotations without their prefix.

    Raises:
        CniError: INVALID_CONFIG: something is malformed.
    """
    labels = {}
    for key, value in given.items():
        if key.startswith(LABELS):
            name = _require_word(key, key.removeprefix(LABELS))
            labels[name] = _require_word(key, value) if value else ""
    namespace = given.get("namespace", "")
    ports = [_parse_port(text) for text in split_items(given.get("named-ports", ""))]
    return calc_identity_args(_require_word("namespace", namespace) if namespace else "", labels, ports)


def _require_word(key: str, text: str) -> str:
    if not text or not is_valid_value(text) or _SEPARATORS & set(text):
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}{key[:80]}": {text[:80]!r} is not a name or a label that policies can have',
            'use letters, digits, "-", "_", "." and "/"',
        )
    return text


def _parse_port(text: str) -> tuple[str, str, int]:
    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError
        number, protocol = parse_named_port(value)
    except ValueError:
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}named-ports": "{text[:80]}" is not a port with a name',
            "write NAME=PORT/PROTOCOL, such as http=80/tcp",
        ) from None
    return _require_word("named-ports", name), protocol, number
