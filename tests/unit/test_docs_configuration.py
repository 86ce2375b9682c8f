"""docs/configuration.md tells what the code reads and answers: no more and no less."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shibafu.bandwidth.config import BandwidthConfig
from shibafu.bridge.config import DEFAULT_BRIDGE, BridgeConfig
from shibafu.cni import errors
from shibafu.cni.config import _DNS_KEYS, Section
from shibafu.cni.request import Request
from shibafu.cni.version import SUPPORTED
from shibafu.engine.programs import SERVED
from shibafu.firewall.config import FirewallConfig
from shibafu.overlay.delegation import DEFAULT_DATA_DIR as OVERLAY_DATA_DIR
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.subnet_file import FLANNEL_SUBNET_FILE, calc_subnet_file
from shibafu.portmap.config import PortmapConfig
from shibafu.tuning.config import DEFAULT_DATA_DIR as TUNING_DATA_DIR
from shibafu.tuning.config import TuningConfig
from shibafu_ipam.config import DEFAULT_DATA_DIR, IpamConfig

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/configuration.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("conf/*.md")])
# What the plugins that it describes are made of.
PLUGINS = [
    main.split(".")[1]
    for name, main in SERVED.items()
    if main.startswith("shibafu.") and name != "shibafu-hook"
]
PARTS = (*PLUGINS, "cni", "netfilter", "resource")
PACKAGES = (*(f"plugins/shibafu/{part}" for part in PARTS), "ipam/shibafu_ipam")
# Of an overlay's modules, those of its plugin; the agent has a configuration of its own.
OVERLAY = {"__main__", "delegation", "gc", "sent_config", "subnet_file", "verbs"}
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.parent.name != "overlay" or path.stem in OVERLAY
)
# The methods of cni.config.Section that read a key, and functions that are given one to read.
READERS = {"array", "flag", "get", "number", "section", "sections", "text", "texts", "unsigned"}
PASSED_ON = {"_decode_text", "_parse_sets"}
_SECTIONS = ("config", "section", "config.section(key)")
# Keys of what other plugins answer: an error object, or their versions.
ANSWERS = {"code", "msg", "details", "supportedVersions"}


def keys_read(path: Path) -> Iterator[str]:
    """Yield the names of all keys that a module reads."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
            # Environment and records are dictionaries, whose `get` is another.
            if node.func.attr != "get" or ast.unparse(node.func.value) in _SECTIONS:
                yield from texts(node.args[:1])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PASSED_ON:
            yield from texts(node.args[1:2])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "fold_keys":
            yield from texts([row.elts[1] for row in node.args if isinstance(row, ast.Tuple)])


def texts(nodes: list[ast.expr]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


READ = {key for path in SOURCES for key in keys_read(path)} | set(_DNS_KEYS)


def chapter(title: str) -> str:
    """Return the part of the document below a heading."""
    return re.split(r"^## ", TEXT.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> Iterator[str]:
    """Yield what stands as code in the first column of tables."""
    for row in re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


def json_blocks(document: Path) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", document.read_text(), re.DOTALL)]


@pytest.mark.parametrize("key", sorted(READ - ANSWERS))
def test_key_that_is_read_is_documented(key: str) -> None:
    assert re.search(rf"`(\w+\.)?{re.escape(key)}(\.\w+)?`", TEXT)


@pytest.mark.parametrize(
    "title",
    [
        *("Common keys", "shibafu-bandwidth", "shibafu-bridge", "shibafu-ipam", "shibafu-portmap"),
        *("shibafu-firewall", "shibafu-overlay", "shibafu-tuning"),
    ],
)
def test_documented_key_is_read(title: str) -> None:
    documented = set(first_column(chapter(title)))
    assert documented
    assert documented <= READ | {"args"}


def test_versions_and_defaults_are_those_of_the_code() -> None:
    assert f"{', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]}" in TEXT
    assert f"`{DEFAULT_BRIDGE}`" in TEXT
    assert f"`{DEFAULT_DATA_DIR}`" in TEXT
    assert f"`{TUNING_DATA_DIR}`" in TEXT
    assert f"`{OVERLAY_DATA_DIR}`" in TEXT
    assert f"`{FLANNEL_SUBNET_FILE}`" in TEXT
    assert f"`{calc_subnet_file('<network>')}`" in TEXT


def test_every_error_code_that_is_used_is_documented() -> None:
    sources = "\n".join(path.read_text() for path in SOURCES if path.name != "errors.py")
    used = {
        value
        for name, value in vars(errors).items()
        if name.isupper() and type(value) is int and re.search(rf"\b{name}\b", sources)
    }
    documented = re.findall(r"^\| (\d+) \|", chapter("Errors"), flags=re.MULTILINE)
    assert documented == [str(code) for code in sorted(used)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_are_valid(document: Path) -> None:
    for block in json_blocks(document):
        for plugin in block.get("plugins", [{"type": "shibafu-bridge", "ipam": block}]):
            if plugin["type"] == "shibafu-loopback":
                continue  # it has no keys
            if plugin["type"] == "shibafu-bandwidth":
                assert not BandwidthConfig(Section(plugin, "NetConf")).is_empty
                continue
            if plugin["type"] == "shibafu-firewall":
                FirewallConfig(plugin)
                continue
            stdin = json.dumps(plugin).encode()
            request = Request("ADD", {}, stdin, Section(plugin | {"name": "example"}, "NetConf"), "1.1.0")
            if plugin["type"] == "shibafu-tuning":
                assert TuningConfig(request).sysctls
                continue
            if plugin["type"] == "shibafu-overlay":
                assert OverlayConfig(request).delegate
                continue
            if plugin["type"] == "shibafu-portmap":
                PortmapConfig(request)
                continue
            BridgeConfig(request)
            IpamConfig(request)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(document: Path) -> set[str]:
    """Return what a link into a document may lead to: headings, as they are on the web, and explicit ones."""
    text = document.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))
