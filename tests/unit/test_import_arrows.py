"""Who may import whom: the layers of the suite, held by reading every source file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import shibafu

PLUGINS = Path(shibafu.__file__).parent
IPAM = PLUGINS.parent.parent / "ipam" / "shibafu_ipam"

# What all parts may import: it stands for the standard library.
EVERYWHERE = ["shibafu.lean"]
# Each part, and what of ours it may import besides itself and that.
ARROWS = {
    "shibafu": [],
    "shibafu.lean": [],
    "shibafu.documents": [],
    "shibafu.policy": [
        "shibafu.cni",
        "shibafu.documents",
        "shibafu.netfilter",
        "shibafu.netlink",
        "shibafu.resource",
    ],
    "shibafu.cni": ["shibafu"],
    "shibafu.netlink": [],
    "shibafu.netfilter": ["shibafu.cni", "shibafu.netlink"],
    "shibafu.resource": ["shibafu.cni", "shibafu.netlink"],
    "shibafu.bridge": [
        "shibafu.cni",
        "shibafu.netlink",
        "shibafu.netfilter",
        "shibafu.policy",
        "shibafu.resource",
    ],
    "shibafu.bandwidth": ["shibafu.cni", "shibafu.netlink", "shibafu.resource"],
    "shibafu.firewall": [
        "shibafu.cni",
        "shibafu.netlink",
        "shibafu.netfilter",
        "shibafu.policy",
        "shibafu.resource",
    ],
    "shibafu.loopback": ["shibafu.cni", "shibafu.netlink", "shibafu.resource"],
    "shibafu.overlay": [
        "shibafu.cni",
        "shibafu.documents",
        "shibafu.engine",
        "shibafu.netlink",
        "shibafu.resource",
    ],
    "shibafu.portmap": ["shibafu.cni", "shibafu.netlink", "shibafu.netfilter", "shibafu.resource"],
    "shibafu.tuning": ["shibafu.cni", "shibafu.netlink", "shibafu.resource"],
    "shibafu.runtime": ["shibafu.cni", "shibafu.resource"],
    "shibafu.hook": [
        "shibafu.cni",
        "shibafu.netlink",
        "shibafu.policy",
        "shibafu.resource",
        "shibafu.runtime",
    ],
    "shibafu.engine": ["shibafu", "shibafu.cni", "shibafu.netlink"],
    "shibafu.monitor": ["shibafu.cni", "shibafu.netlink"],
    "shibafu.container": ["shibafu.cni", "shibafu.hook", "shibafu.monitor"],
    "shibafu_ipam": ["shibafu.cni", "shibafu.resource"],
    "shibafu.networks": [
        "shibafu.cni",
        "shibafu.documents",
        "shibafu.netlink",
        "shibafu.resource",
        "shibafu.bandwidth",
        "shibafu.bridge",
        "shibafu.firewall",
        "shibafu.loopback",
        "shibafu.overlay",
        "shibafu.policy",
        "shibafu.portmap",
        "shibafu.tuning",
        "shibafu.runtime",
        "shibafu.container",
        "shibafu_ipam",
    ],
    "shibafu.watch": [
        "shibafu.cni",
        "shibafu.documents",
        "shibafu.netlink",
        "shibafu.netfilter",
        "shibafu.resource",
        "shibafu.bridge",
        "shibafu.runtime",
        "shibafu.engine",
        "shibafu.networks",
    ],
    "shibafu.cli": [
        "shibafu",
        "shibafu.cni",
        "shibafu.runtime",
        "shibafu.engine",
        "shibafu.container",
        "shibafu.documents",
        "shibafu.networks",
        "shibafu.overlay",
        "shibafu.policy",
        "shibafu.watch",
        "shibafu_ipam",
    ],
}
# Parts that people call, who do not notice what imports cost, and what plugins use of them.
FOR_PEOPLE = {
    "shibafu.cli",
    "shibafu.container",
    "shibafu.documents",
    "shibafu.networks",
    "shibafu.overlay",
    "shibafu.policy",
    "shibafu.watch",
}
FOR_PLUGINS = {
    "shibafu.overlay",
    "shibafu.overlay.__main__",
    "shibafu.overlay.delegation",
    "shibafu.overlay.gc",
    "shibafu.overlay.sent_config",
    "shibafu.overlay.subnet_file",
    "shibafu.overlay.verbs",
    "shibafu.policy",
    "shibafu.policy.address_check",
    "shibafu.policy.compiled",
    "shibafu.policy.enforcement",
    "shibafu.policy.host_policies",
    "shibafu.policy.member",
    "shibafu.policy.membership",
    "shibafu.policy.pod_identity",
    "shibafu.policy.policy_table",
    "shibafu.policy.selector",
    "shibafu.policy.stated_policies",
}
# The places where the parts are put together.
COMPOSITION = {
    "shibafu.bridge.__main__": ["shibafu_ipam"],
    "shibafu.overlay.__main__": ["shibafu.bridge"],
}


def calc_part(module: str) -> str:
    """Return the part of the suite that a module belongs to: its package, or the first two names."""
    names = module.split(".")
    return names[0] if names[0] == "shibafu_ipam" else ".".join(names[:2])


def find_modules() -> Iterator[tuple[str, Path]]:
    for root in (PLUGINS, IPAM):
        for path in sorted(root.rglob("*.py")):
            names = path.relative_to(root.parent).with_suffix("").parts
            yield ".".join(names).removesuffix(".__init__"), path


def find_imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yield each imported name of ours and its line: at the top, in functions, and for types alike."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where they lead"
            # `from shibafu import cni` imports a part, `from shibafu.cni import skel` one of its modules
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            (name, node.lineno) for name in names if name.split(".")[0] in ("shibafu", "shibafu_ipam")
        )


MODULES = dict(find_modules())


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_upward(module: str) -> None:
    part = calc_part(module)
    allowed = {part, *EVERYWHERE, *ARROWS[part], *COMPOSITION.get(module, [])}
    for name, line in find_imports(module, MODULES[module]):
        target = calc_part(name)
        if name == "shibafu.__version__":
            target = "shibafu"
        assert target in allowed, f"{module}:{line} imports {name}"


def test_verbs_leave_the_kernel_to_resources() -> None:
    """What verbs are made of, the plans among them, imports neither netlink nor netfilter."""
    verbs = [module for module in MODULES if re.fullmatch(r"shibafu\.bridge(\.\w+|\.compat\.plan)?", module)]
    assert {"shibafu.bridge.add", "shibafu.bridge.plan", "shibafu.bridge.compat.plan"} < set(verbs)
    for module in verbs:
        for name, line in find_imports(module, MODULES[module]):
            assert calc_part(name) not in ("shibafu.netlink", "shibafu.netfilter"), f"{module}:{line}: {name}"


@pytest.mark.parametrize("verb", ["add", "check", "delete", "gc", "status"])
def test_verbs_are_short(verb: str) -> None:
    """A verb interprets resources; what it would say of them itself, the other verbs would not know."""
    assert len((PLUGINS / "bridge" / f"{verb}.py").read_text().splitlines()) <= 50


def test_all_parts_are_known() -> None:
    assert {calc_part(module) for module in MODULES} == set(ARROWS)


def test_the_arrows_have_no_circle() -> None:
    def reach(part: str, path: tuple[str, ...]) -> None:
        assert part not in path, " -> ".join((*path, part))
        for target in ARROWS[part]:
            reach(target, (*path, part))

    for part in ARROWS:
        reach(part, ())


def test_types_are_imported_for_the_checker_only() -> None:
    """No `typing` at run time: it costs 12 ms of every call, even behind `from __future__`."""
    costly = {"typing", "__future__", "collections.abc", "dataclasses", "enum", "contextlib", "abc"}
    for module, path in MODULES.items():
        if calc_part(module) in FOR_PEOPLE and module not in FOR_PLUGINS:
            continue
        tree = ast.parse(path.read_text())
        for_checker = [
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            for inner in ast.walk(node)
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node not in for_checker:
                assert node.module not in costly, f"{module}:{node.lineno} imports {node.module}"
