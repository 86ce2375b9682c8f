"""Policies that a network's configuration states, as calls of plugins see them.

    "policies": [{"kind": "NetworkPolicy", ...}], "policyDir": "/srv/policies"

What they say, only the command reads. It keeps a digest of both keys with the compiled policies. A call that
does not find the digest there attaches nobody: policies that are stated are in force, or refused.
"""

from shibafu.cni.errors import INVALID_CONFIG, NOT_AVAILABLE, CniError
from shibafu.cni.names import calc_digest
from shibafu.lean.json import dumps_lines
from shibafu.policy.host_policies import HostPolicies, UnreadablePoliciesError
from shibafu.resource.base import RULES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shibafu.cni.config import Section
    from shibafu.cni.request import Request
    from shibafu.policy.compiled import Compiled
    from shibafu.resource.view import View

POLICIES, POLICY_DIRECTORY = "policies", "policyDir"
_UNAPPLIED = "the policies of the network's configuration are not applied as they are now"
_ADVICE = (
    "run `shibafu policy apply`; with --conf-dir, if the network is configured elsewhere than in "
    "/etc/cni/net.d. Until then, no container is attached"
)


def calc_stated_policies(config: "Section") -> str:
    """Return the digest of the policies that a plugin's configuration states; empty if it states none.

    Raises:
        CniError: INVALID_CONFIG: one of the keys is malformed.
    """
    policies = [policy.values for policy in config.sections(POLICIES)]
    directory = config.text(POLICY_DIRECTORY)
    if directory and not directory.startswith("/"):
        raise CniError(
            INVALID_CONFIG,
            f'"{POLICY_DIRECTORY}" is not an absolute path: "{directory}"',
            "write the whole path of a directory, such as /etc/shibafu/blue",
        )
    if not (policies or directory):
        return ""
    return calc_digest(dumps_lines({POLICIES: _sort(policies), POLICY_DIRECTORY: directory}), size=16)


def _sort(value: object) -> object:
    """Return a value as any runtime hands it over: they sort keys, and write 80.0 as 80."""
    if isinstance(value, dict):
        return {key: _sort(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sort(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class StatedPolicies(Resource):
    """The policies that a network's configuration states, among those that the host enforces.

    Args:
        digest: of what it states.
    """

    __slots__ = ("_digest",)
    medium = RULES

    def __init__(self, digest: str) -> None:
        self._digest = digest

    @classmethod
    def obstacle(cls, request: "Request", config: "Any") -> CniError | None:
        """See `Resource.obstacle`."""
        is_applied = _is_applied(config.stated_policies, HostPolicies().read())
        return None if is_applied else CniError(NOT_AVAILABLE, _UNAPPLIED, _ADVICE)

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the policies of the network's configuration"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`. Nobody but the command can apply policies."""
        try:
            compiled: Compiled | None = view.once("network policies", lambda: HostPolicies().read())
        except UnreadablePoliciesError as error:
            return [Fault(error.msg, error.details, is_mendable=False)]
        is_applied = _is_applied(self._digest, compiled)
        return [] if is_applied else [Fault(_UNAPPLIED, _ADVICE, is_mendable=False)]

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"digest": self._digest}

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: INVALID_CONFIG: they are not applied.
        """
        if not _is_applied(self._digest, HostPolicies().read()):
            raise CniError(INVALID_CONFIG, _UNAPPLIED, _ADVICE)
        return False

    def remove(self) -> None:
        """See `Resource.remove`. They are the host's."""


def _is_applied(digest: str, compiled: "Compiled | None") -> bool:
    return compiled is not None and digest in compiled.stated
