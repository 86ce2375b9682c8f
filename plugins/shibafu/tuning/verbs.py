"""The verbs: interpretations of the plan."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.errors import CniError
from shibafu.cni.result import require_prev_result
from shibafu.lean.files import remove_file
from shibafu.resource.base import check_resources
from shibafu.resource.netns import Netns, open_container_netns
from shibafu.resource.teardown import Teardown
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import View
from shibafu.tuning.allowlist import require_allowed
from shibafu.tuning.backup import calc_backup_name, list_backups
from shibafu.tuning.config import TuningConfig
from shibafu.tuning.plan import amend_result, plan_changes, plan_restoration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request

# The reference's words for a missing prevResult.
_REFUSAL = "Required prevResult missing"


def add(request: "Request") -> dict[str, object]:
    """Change what is stated, and return the result of the plugins before, with what has changed of it.

    Raises:
        CniError: why it could not be done; all is as it was then.
    """
    config = TuningConfig(request)
    require_allowed(config.sysctl_keys)
    result = require_prev_result(request.config, request.cni_version, _REFUSAL)
    amend_result(request, config, result)
    answer = result.to_json(request.cni_version)
    with open_container_netns(request) as netns, Transaction(View(netns.sock, netns=netns)) as transaction:
        for resource in plan_changes(request, config, netns):
            transaction.ensure(resource)
    return answer


def check(request: "Request") -> None:
    """Compare the container with the configuration.

    Raises:
        CniError: CHECK_FAILED and the first difference.
    """
    config = TuningConfig(request)
    require_prev_result(request.config, request.cni_version, _REFUSAL)
    with open_container_netns(request) as netns:
        plan = plan_changes(request, config, netns)
        check_resources(plan, View(netns.sock, netns=netns))


def delete(request: "Request") -> None:
    """Make the interface what it was before; with a namespace that is gone it has gone, too.

    What the kernel refuses is told on stderr, as a failure would keep the plugins before this one from
    removing the interface.

    Raises:
        CniError: the file with its former attributes cannot be removed.

    """
    config = TuningConfig(request)
    netns = _find_netns(request)
    try:
        backup, interface = plan_restoration(request, config, netns)
        restoring, teardown = Teardown(), Teardown()
        restoring.do(interface.remove)
        teardown.do(backup.remove)
    finally:
        if netns is not None:
            netns.close()
    for error in restoring.errors:
        from shibafu.cni.failures import warn

        warn(f"{request.ifname} of container {request.container_id}: {error.msg}")
    teardown.finish()


def collect_garbage(request: "Request") -> None:
    """Remove the files of the network's attachments that are not valid any more.

    Raises:
        CniError: all that could not be removed.
    """
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return
    data_dir, teardown = TuningConfig(request).data_dir, Teardown()
    names = {calc_backup_name(container_id, ifname) for container_id, ifname in valid}
    for name, complete in list_backups(data_dir, request.network).items():
        if complete not in names:
            teardown.do(remove_file, f"{data_dir}/{name}")
    teardown.finish()


def status(request: "Request") -> None:
    """Find out what would keep ADD from its work.

    Raises:
        CniError: a value that cannot be, or a sysctl that is not allowed.
    """
    require_allowed(TuningConfig(request).sysctl_keys)


def _find_netns(request: "Request") -> Netns | None:
    """Return the container's namespace; None when it is gone, or the host's has come to be at its path."""
    try:
        return open_container_netns(request)
    except CniError:
        return None
