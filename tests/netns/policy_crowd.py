"""Many policies, and many containers with addresses that none of the tests has."""

from bench.policy_crowd import make_crowd_documents, make_crowd_labels
from shibafu.documents.json_lines import format_json_lines
from shibafu.lean.ip import parse_address
from shibafu.policy.member import Member
from shibafu.policy.model import PolicySet
from shibafu.policy.policy_documents import parse_policies


def make_crowd_policies(count: int) -> PolicySet:
    """Return policies of 20 namespaces; a tenth are for all pods of theirs."""
    return parse_policies(format_json_lines(make_crowd_documents(count)), "crowd.json")


def make_crowd(count: int) -> list[Member]:
    """Return containers with an address of each family."""
    return [
        Member(
            namespace,
            {"app": app},
            [
                parse_address(f"10.200.{number // 250}.{number % 250 + 1}"),
                parse_address(f"fd00:200::{number + 1:x}"),
            ],
        )
        for number, (namespace, app) in enumerate(make_crowd_labels(count))
    ]
