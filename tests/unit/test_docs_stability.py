"""docs/stability.md promises what the code has: metrics, exit codes, and that nothing is deprecated."""

import re
from pathlib import Path

import pytest

from shibafu.cli import parser
from shibafu.cli.container import exec as exec_
from shibafu.cli.engine import status
from shibafu.cni.sole_process import ALREADY_AT_WORK
from shibafu.container import errors as container_errors
from shibafu.engine.metrics import OUTCOME_FAILED, OUTCOME_LOST, OUTCOME_SERVED, Metrics, render_metrics
from shibafu.networks import errors
from shibafu.resource.record import VERSION
from support.schemas import SCHEMAS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "stability.md").read_text()
CODES = {
    0,
    errors.FAILED,
    errors.USAGE,
    status.NOT_RUNNING,
    ALREADY_AT_WORK,
    container_errors.NOT_STARTED,
    container_errors.NOT_EXECUTABLE,
    container_errors.NOT_FOUND,
    parser.INTERRUPTED,
    exec_._NOT_BEGUN,
}


def rows(text: str, title: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    below = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in below.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("document", ["stability.md", "commands.md"])
def test_exit_codes_are_those_of_the_code(document: str) -> None:
    stated = [int(row[0]) for row in rows((DOCS / document).read_text(), "Exit codes")]
    assert stated == sorted(CODES)


def test_metrics_are_those_of_the_code() -> None:
    metrics = Metrics()
    for outcome in (OUTCOME_SERVED, OUTCOME_FAILED, OUTCOME_LOST):
        metrics.count_call("shibafu-hook", "", outcome, 0.1)
    metrics.count_cold("another build")
    state = {"running": True, "ending": False, "started": 1.5, "memory": 4096, **metrics.to_json()}
    text = render_metrics(state)
    written = {name: [kind, ""] for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        of_all = ", ".join(f"`{label}`" for label in re.findall(r'(\w+)="', labels) if label != "le")
        written[re.sub(r"_(bucket|sum|count)$", "", name)][1] = of_all
    stated = {name.strip("`"): [kind, labels] for name, kind, labels, _ in rows(TEXT, "Metrics")}
    assert stated == written
    meaning = next(row[3] for row in rows(TEXT, "Metrics") if "histogram" in row)
    assert {OUTCOME_SERVED, OUTCOME_FAILED, OUTCOME_LOST} <= set(re.findall(r"`(\w+)`", meaning))


def test_the_version_of_records_is_that_of_the_code() -> None:
    assert f"the version of the format, now {VERSION}." in TEXT
    assert SCHEMAS["attachment-record.json"]["properties"]["v"]["const"] == VERSION


def test_what_is_deprecated_is_told_everywhere_or_nowhere() -> None:
    is_in_schemas = "'deprecated': True" in str(SCHEMAS)
    is_in_changelog = "### Deprecated" in (DOCS.parent / "CHANGELOG.md").read_text()
    if "Nothing is deprecated now." in TEXT:
        assert not is_in_schemas
        assert not is_in_changelog
    else:
        assert is_in_changelog


def test_the_resources_of_the_manual_are_those_of_the_schema() -> None:
    section = (DOCS / "commands.md").read_text().partition("### Resources")[2].partition("\n## ")[0]
    told = dict(re.findall(r"(?m)^\| `(\w+)`.*? \| (.*) \|$", section))
    kinds = dict(SCHEMAS["resource.json"]["$defs"])
    del kinds["faults"]
    assert told.keys() - {"resource"} == kinds.keys()
    for kind, schema in kinds.items():
        attributes = schema["properties"]["attributes"]["properties"]
        assert attributes.keys() <= set(re.findall(r"`(\w+)`", told[kind])), kind
