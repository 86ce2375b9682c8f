"""Having the kernel enforce policies, and comparing it with them."""

import os

from shibafu.cni.errors import CniError
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce, is_enforced, list_members, restore_policies
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.model import PolicySet


def enforce_policies(policies: PolicySet) -> None:
    """Have the kernel enforce policies in place of those that it enforces now: all of them, or none.

    Raises:
        CniError: nft is not installed, or refuses.
    """
    enforce(compile_policies(policies), HostPolicies(), os.environ)


def enforce_labels() -> None:
    """Have the kernel go by the labels of all containers as they are now.

    Raises:
        CniError: nft is not installed, or refuses; or policies cannot restrict one of the containers.
    """
    restore_policies(HostPolicies(), os.environ, has_changes=True)


def find_unknown() -> list[str]:
    """Return in words which containers no policy restricts, since nobody knows what it would find them by."""
    unknown: list[str] = []
    if HostPolicies().read() is None:
        return unknown
    for _ in list_members(unknown):
        pass
    return [f"{one}; no policy restricts it: detach it and attach it again" for one in unknown]


def find_difference(policies: PolicySet) -> str:
    """Return how the kernel's rules differ from policies, and what to do about it; empty if they do not."""
    try:
        return _compare(policies)
    except CniError as error:
        return f"the kernel's rules cannot be compared with the policies: {error.msg}"


def _compare(policies: PolicySet) -> str:
    host = HostPolicies()
    compiled = host.read()
    if compiled is None:
        if not (policies.policies or policies.stated):
            return ""
        return "the policies are not applied: `shibafu policy apply` does it"
    if compiled.to_json() == compile_policies(policies).to_json():
        if is_enforced(host, os.environ):
            return ""
        return "the kernel's rules have been changed: `shibafu network repair` restores them"
    return "the policies have been changed since they were applied: `shibafu policy apply` applies them"
