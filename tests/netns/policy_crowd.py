"""Many policies and many containers, as on a busy host, with addresses that no container of the tests has."""

from random import Random

from shibafu.lean.ip import parse_address
from shibafu.policy.member import Member
from shibafu.policy.model import INGRESS, Policy, PolicyPeer, PolicyPort, PolicyRule, PolicySet
from shibafu.policy.selector import IN, Requirement, Selector

_APPS = [f"app{number}" for number in range(100)]
_NAMESPACES = [f"team{number}" for number in range(20)]


def _select(random: Random) -> Selector:
    return Selector([Requirement("app", IN, [random.choice(_APPS)])])


def make_crowd_policies(count: int) -> PolicySet:
    """Return policies of 20 namespaces; a tenth are for all pods of theirs."""
    random = Random(count)
    peers = [PolicyPeer(_select(random), random.choice([None, Selector()])) for _ in range(200)]

    def make_rule() -> PolicyRule:
        ports = tuple(PolicyPort("TCP", random.randrange(1, 9999)) for _ in range(random.randrange(3)))
        return PolicyRule((random.choice(peers),), ports or None)

    return PolicySet(
        tuple(
            Policy(
                random.choice(_NAMESPACES),
                f"policy{number}",
                Selector() if number % 10 == 0 else _select(random),
                (INGRESS,),
                (make_rule(), make_rule()),
            )
            for number in range(count)
        )
    )


def make_crowd(count: int) -> list[Member]:
    """Return containers with an address of each family."""
    random = Random(count)
    return [
        Member(
            random.choice(_NAMESPACES),
            {"app": random.choice(_APPS)},
            [
                parse_address(f"10.200.{number // 250}.{number % 250 + 1}"),
                parse_address(f"fd00:200::{number + 1:x}"),
            ],
        )
        for number in range(count)
    ]
