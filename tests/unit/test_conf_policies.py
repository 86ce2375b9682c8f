"""The sample policies are what their expectations say."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from shibafu.networks.policy_networks import open_policies
from shibafu.policy.evaluation import PolicyEndpoint, Service, evaluate
from shibafu.policy.expectations import Expectation, parse_expectations
from shibafu.policy.model import Pod
from shibafu.policy.named_service import find_service
from shibafu.policy.policy_documents import join_sources
from shibafu.policy.policy_files import list_policy_files, read_sources

POLICIES = Path(__file__).parents[2] / "conf" / "policies"
_TABLE = POLICIES / "tests" / "expectations.yaml"
EXPECTATIONS = parse_expectations(_TABLE.read_text(), _TABLE.name)


def find_end(side: str | PolicyEndpoint) -> PolicyEndpoint:
    return PolicyEndpoint(ip_address(side)) if isinstance(side, str) else side


@pytest.mark.parametrize("expectation", EXPECTATIONS, ids=lambda one: one.place)
def test_an_expectation_is_met(expectation: Expectation) -> None:
    mistakes: list[str] = []
    policies = join_sources(read_sources(list_policy_files(str(POLICIES)), mistakes))
    assert (mistakes, len(policies.policies)) == ([], 3)
    ends = (find_end(expectation.source), find_end(expectation.destination))
    service = find_service(expectation.service, ends[1].pod)
    assert evaluate(policies, *ends, service).is_allowed is expectation.is_allowed


def test_there_is_nothing_else() -> None:
    files = {path.name for path in POLICIES.iterdir() if path.is_file()}
    policies = {Path(path).name for path in list_policy_files(str(POLICIES))}
    assert files == policies


def test_those_of_the_sample_network_go_with_the_others() -> None:
    mistakes: list[str] = []
    policies = open_policies(str(POLICIES), str(POLICIES.parent)).load(mistakes)
    assert (mistakes, len(policies.policies), len(policies.stated)) == ([], 5, 1)
    db, web, other = (
        PolicyEndpoint(None, Pod("shop", name, {"app": name})) for name in ("db", "web", "other")
    )
    for source, destination, is_allowed in ((web, db, True), (other, db, False), (db, web, False)):
        found = evaluate(policies, source, destination, Service("TCP", 5432))
        assert found.is_allowed is is_allowed
