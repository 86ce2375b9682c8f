"""The versions of the CNI specification that this suite speaks."""

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
# A configuration without cniVersion is of the first version (specification, section 1).
DEFAULT = "0.1.0"
LATEST = "1.1.0"

# Results of one group have the same shape, and prevResult must be of the configuration's group.
RESULT_GROUPS = (("0.1.0", "0.2.0"), ("0.3.0", "0.3.1", "0.4.0"), ("1.0.0", "1.1.0"))

# The first version whose configurations may be given to the verb.
_FIRST_VERSION = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def result_group(version: str) -> tuple[str, ...]:
    """Return the versions whose results have the same format as those of `version`."""
    for group in RESULT_GROUPS:
        if version in group:
            return group
    return ()


def allows_verb(version: str, verb: str) -> bool:
    """Return whether a configuration of `version` may be given to `verb`."""
    first = _FIRST_VERSION.get(verb, DEFAULT)
    return SUPPORTED.index(version) >= SUPPORTED.index(first)
