"""Links between the documents lead to what is there: files, and headings in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FOLDERS = (".", ".github", "bench", "conf", "docs", "packaging", "packaging/freeze", "tests")
DOCUMENTS = sorted(path for folder in _FOLDERS for path in (ROOT / folder).glob("*.md"))

_FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')


def read_text(path: Path) -> str:
    """Return a document without its examples."""
    return _FENCED.sub("", path.read_text(encoding="utf-8"))


def list_anchors(path: Path) -> set[str]:
    """Return what a link can name in a document: headings, as GitHub makes anchors of them, and anchors."""
    text = read_text(path)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(text))
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}
    return slugs | set(_ANCHOR.findall(text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in _LINK.findall(read_text(document)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in list_anchors(path)):
            broken.append(target)
    assert broken == []


def test_the_readme_leads_to_every_document() -> None:
    targets = {target.partition("#")[0] for target in _LINK.findall(read_text(ROOT / "README.md"))}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= targets
