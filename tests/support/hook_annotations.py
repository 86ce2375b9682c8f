"""Settings of the hook, from flags and annotations."""

from shibafu.hook.settings import Settings, parse_flags, parse_settings


def settings(*flags: str, **annotations: str) -> Settings:
    """Parse flags and annotations; the latter without their prefix, `_` for `-` and `__` for a dot."""
    names = {key.replace("__", ".").replace("_", "-"): value for key, value in annotations.items()}
    return parse_settings(parse_flags(flags), {f"org.shibafu.{key}": value for key, value in names.items()})
