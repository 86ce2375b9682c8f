"""What annotations may say where the administrator speaks by flags: `--allow=KEY[=VALUE|...]`.

Flags are the administrator's, while annotations may be anybody's: engines pass on those of a pod's author.
So what a flag sets, an annotation cannot change, unless the key is allowed. A key that is allowed with
values takes no others, whether a flag sets it or not.
"""

from shibafu.cni.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "org.shibafu."

# What an administrator allows: values by key; None are any.
Allowed = dict[str, "frozenset[str] | None"]


def parse_allow(text: str) -> "tuple[str, frozenset[str] | None]":
    """Parse the value of --allow into a key and its values; None are any."""
    key, equals, values = text.partition("=")
    return key, frozenset(value.strip() for value in values.split("|")) if equals else None


def find_allowed(allowed: Allowed, key: str) -> str | None:
    """Return the entry that is for a key: its own, else for `ip.blue` that of `ip`; None without one."""
    family = key.partition(".")[0]
    return key if key in allowed else family if family in allowed else None


def calc_refusal(flags: "Mapping[str, str]", allowed: Allowed, key: str, value: str) -> CniError | None:
    """Return why an annotation's value is refused; None when it is not.

    Args:
        flags: what flags say, by key.
        allowed: what is allowed.
        key: the annotation without its prefix.
        value: its value.
    """
    if says_the_same(flags, key, value):
        return None
    entry = find_allowed(allowed, key)
    if entry is None:
        if key not in flags:
            return None
        return CniError(
            INVALID_CONFIG,
            f'"{PREFIX}{key}" cannot override the hook\'s flag --{key}',
            f"remove the annotation, or ask the administrator to add --allow={key} to the hook's args",
        )
    values = allowed[entry]
    strangers = [item for item in split_items(value) or [""] if values is not None and item not in values]
    if not strangers:
        return None
    return CniError(
        INVALID_CONFIG,
        f'"{PREFIX}{key}": "{strangers[0][:80]}" is not one of the values that the administrator allows',
        f"the hook's args have --allow={entry}={'|'.join(sorted(values or ()))}",
    )


def says_the_same(flags: "Mapping[str, str]", key: str, value: str) -> bool:
    """Return whether an annotation has a flag's items, however they are spelled: the flag's count."""
    return key in flags and split_items(flags[key]) == split_items(value)


def split_items(text: str) -> list[str]:
    """Return the items of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]
