"""Names of links, as people write them into documents."""

import re

_LONGEST = 15  # IFNAMSIZ - 1 (linux/if.h)
# What a path of /proc/sys would take for something else.
_TAKEN = (".", "..", "all", "default")


def require_iface_name(text: str) -> str:
    """Return a name that a link may have (dev_valid_name in net/core/dev.c).

    Raises:
        ValueError: none may have it.
    """
    is_short = 0 < len(text.encode()) <= _LONGEST
    is_plain = text.isprintable() and not re.search(r"[/:%\s]", text)
    if not is_short or not is_plain or text in _TAKEN:
        raise ValueError(f'"{text}" is not the name of a link')
    return text
