"""Writes docs/compatibility.md out of the table, its keys and its differences.

From the folder tests: `python3 -m differential.compatibility > ../docs/compatibility.md`. A test compares
the two.
"""

import sys
from collections.abc import Iterator, Mapping

from differential.case import Case
from differential.difference import ANY, KINDS, Difference
from differential.differences import DIFFERENCES
from differential.keys import KEYS as OTHER_KEYS
from differential.keys import SECTIONS as OTHER_SECTIONS
from differential.keys import Key
from differential.keys_chained import CHAINED_SECTIONS
from differential.specs import SUITES, Specs, find_unmet
from differential.table import CASES

SECTIONS = (*OTHER_SECTIONS, *CHAINED_SECTIONS)
KEYS = (*OTHER_KEYS, *(key for _, _, keys in CHAINED_SECTIONS for key in keys))
_CHAINED = {plugin for plugin, _, _ in CHAINED_SECTIONS} | {"loopback"}
# What all plugins are told.
_COMMON = {key.name for section, _, keys in OTHER_SECTIONS if section == "protocol" for key in keys} | {
    "prevResult"
}
_CNI_ARGS = ("MAC", "IP", "IgnoreUnknown")
_CANONICAL = {key.name.lower(): key.name for key in KEYS}
_HEAD = """# Compatibility with the reference plugins

shibafu's plugins replace `bridge`, `host-local`, `bandwidth`, `firewall`, `loopback`, `portmap` and `tuning`,
the reference plugins ([containernetworking/plugins](https://github.com/containernetworking/plugins)): the
same configurations, arguments and results, the same leases on disk. [migrating.md](migrating.md) describes
how to switch, and back; [configuration.md](configuration.md) what each key means.

This page is generated from the table in `tests/differential`. Its {cases} configurations, good and bad, go
through both suites, each in fresh network namespaces: ADD, CHECK and DEL twice, or whatever a case is
about. Exit status and answer, links, addresses, routes, sysctls, leases, limits, how the world outside sees a
container, where published ports lead, and what is left in the end are compared. The reference is Debian's
release 1.1.1; features of newer releases are compared with their documentation. A difference that is not
listed here fails the test, and so does a listed one that no longer occurs.
"""

_FLANNEL = """## Keys of flannel's CNI plugin

`shibafu-overlay` also has the name `flannel`. That plugin is not called in the comparison: what is sent to
the delegate is compared with its source (flannel-io/cni-plugin), in `tests/netns/test_overlay.py`.

| | shibafu |
|---|---|
| `subnetFile` | The same; lines without an assignment, spaces and quotes are passed over. |
| `dataDir` | The same; files are named after container and interface, and flannel's own are read. |
| `delegate` | The same, and the same refusals. A bridge that masquerades also gets `nonMasqueradeCIDRs`. |
| `delegate.type` | The same as `flannel`; under its own name the default is `shibafu-bridge`. |
| `ipam` | The same; for `shibafu-bridge` the default of `type` is `shibafu-ipam`. |
| `runtimeConfig` | The same; `args` are passed on as well. |

CHECK, which does nothing in flannel's plugin, is the delegate's, and so are STATUS and GC, which that does
not have. DEL of an attachment of which nothing is kept calls a delegate of shibafu, which finds what it made
by the attachment's name; flannel's plugin does nothing.
"""

_SPECS = """## The reference's own tests

The reference's source contains tests of its chained plugins, called specs. Those of Debian's release
1.1.1 are also run with shibafu's executables in place of the reference's functions (`tests/run.sh --long`).
Specs of functions that no executable has are left out, and names that shibafu computes in another way are
replaced.

| | specs | about the executable | hold for shibafu | the rest, and what has another name |
|---|---|---|---|---|
"""


def find_keys(case: Case) -> set[str]:
    """Return the names of all that a case says to the plugin, as in `differential.keys`."""
    used = set()
    for config in (case.config, *(call.config for call in case.calls)):
        used |= set(_walk(config))
    for env in (case.env, *(call.env for call in case.calls)):
        for name, value in env.items():
            used |= set(_split_args(value or "")) if name == "CNI_ARGS" else {name}
    used |= {"CNI_COMMAND"}
    if case.plugin in _CHAINED:
        used = {name if _is_common(name) else f"{case.plugin}.{name}" for name in used}
    return {_CANONICAL.get(name.lower(), name) for name in used}


def _is_common(name: str) -> bool:
    return name in _COMMON or name.startswith("CNI_")


def _walk(config: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        path = f"{prefix}{key}"
        yield path
        values = value if isinstance(value, list) else [value]
        # Range sets are lists of lists.
        items = [item for entry in values for item in (entry if isinstance(entry, list) else [entry])]
        for item in items:
            if isinstance(item, dict):
                yield from _walk(item, f"{path}.")


def _split_args(text: str) -> Iterator[str]:
    for pair in text.split(";"):
        name = pair.partition("=")[0]
        yield f"CNI_ARGS {name if name in _CNI_ARGS else 'other'}"


def write() -> str:
    """Return the whole page."""
    uses = [find_keys(case) for case in CASES]
    lines = [_HEAD.format(cases=len(CASES))]
    for section, title, keys in SECTIONS:
        lines += [f"## {title}", "", "| | shibafu | differences | cases |", "|---|---|---|---|"]
        prefix = f"{section}." if section in _CHAINED else ""
        lines += [_calc_row(key, prefix, sum(key.name in used for used in uses)) for key in keys]
        lines.append("")
    lines.append(_FLANNEL)
    lines += ["## Deliberate differences", ""]
    for kind, meaning in KINDS.items():
        lines += [f"### {meaning}", "", "| | | seen in |", "|---|---|---|"]
        for difference in DIFFERENCES:
            if difference.kind == kind:
                anchor = f'<a id="{difference.name}"></a>`{difference.name}`'
                lines.append(f"| {anchor} | {difference.reason} | {_calc_examples(difference)} |")
        lines.append("")
    lines += [_SPECS + "\n".join(map(_calc_specs, SUITES)), ""]
    return "\n".join(lines)


def _calc_specs(suite: Specs) -> str:
    unmet = find_unmet(suite.plugin)
    asked = suite.specs - suite.inner
    holding = asked - sum(specs.count for specs in unmet)
    remarks = [f"{specs.count}: {specs.reason}" for specs in unmet] + [suite.renamed] * bool(suite.renamed)
    return f"| `{suite.plugin}` | {suite.specs} | {asked} | {holding} | {' '.join(remarks)} |"


def _calc_row(key: Key, prefix: str, cases: int) -> str:
    links = " ".join(f"[{name}](#{name})" for name in key.differences)
    return f"| `{key.name.removeprefix(prefix)}` | {key.treatment} | {links} | {cases} |"


def _calc_examples(difference: Difference) -> str:
    if difference.cases == ANY:
        return "any case"
    cases = [*difference.cases, *(case.name for case in CASES if case.despite == difference.name)]
    named = ", ".join(f"`{name}`" for name in cases[:2])
    return f"{named} and {len(cases) - 2} more" if len(cases) > 2 else named


if __name__ == "__main__":
    sys.stdout.write(write())
