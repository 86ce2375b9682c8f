"""CNI_ARGS: `KEY=value` pairs separated by semicolons."""

from shibafu.cni.errors import INVALID_ENVIRONMENT, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def is_valid_value(value: str) -> bool:
    """Return whether a value can stand in CNI_ARGS and is nothing else there."""
    return value.isprintable() and not {";", "="} & set(value)


def join_args(args: "Mapping[str, str]") -> str:
    """Return CNI_ARGS of pairs.

    Raises:
        CniError: INVALID_ENVIRONMENT for a key or value that would be more than itself.
    """
    for key, value in args.items():
        if not key or not is_valid_value(key) or not is_valid_value(value):
            raise CniError(
                INVALID_ENVIRONMENT,
                f"ARGS: invalid pair {key[:80]!r}: {value[:80]!r}",
                'CNI_ARGS cannot contain ";", "=" or control characters',
            )
    return ";".join(f"{key}={value}" for key, value in args.items())


def split_args(text: str) -> dict[str, str]:
    """Return all pairs of CNI_ARGS; malformed ones are left out."""
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {key: value for key, equals, value in pairs if key and equals}


def parse_args(text: str, known: tuple[str, ...]) -> dict[str, str]:
    """Parse CNI_ARGS into the pairs whose keys are `known`; keys are case-sensitive.

    Other keys are refused, unless the pair `IgnoreUnknown=1` (or true) is there.

    Raises:
        CniError: INVALID_ENVIRONMENT for a pair without `=`, an unknown key or a bad IgnoreUnknown.
    """
    if not text:
        return {}
    args: dict[str, str] = {}
    unknown = []
    for pair in text.split(";"):
        key, equals, value = pair.partition("=")
        if not equals or not key or "=" in value:
            raise CniError(
                INVALID_ENVIRONMENT,
                f'ARGS: invalid pair "{pair}"',
                "CNI_ARGS must be KEY=value pairs separated by semicolons, with none at the end",
            )
        if key in known or key == "IgnoreUnknown":
            args[key] = value
        else:
            unknown.append(pair)
    stated = args.pop("IgnoreUnknown", "false")
    ignore = _BOOLEANS.get(stated.lower())
    if ignore is None:
        raise CniError(
            INVALID_ENVIRONMENT,
            f'ARGS: error parsing value of pair "IgnoreUnknown={stated}": boolean unmarshal error: '
            f"invalid input {stated.lower()}",
            "IgnoreUnknown in CNI_ARGS must be 1, 0, true or false",
        )
    if unknown and not ignore:
        listed = " ".join(f'"{pair}"' for pair in unknown)
        raise CniError(
            INVALID_ENVIRONMENT,
            f"ARGS: unknown args [{listed}]",
            "add IgnoreUnknown=1 to CNI_ARGS to ignore other plugins' arguments",
        )
    return args
