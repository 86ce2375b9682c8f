"""Changing the labels of a container while it runs."""

from collections.abc import Callable, Mapping

from shibafu.cni.args import split_args
from shibafu.networks.errors import CommandError
from shibafu.networks.policy_pods import list_records, make_pod
from shibafu.policy.enforcement import list_attachments
from shibafu.policy.pod_identity import change_labels_arg
from shibafu.resource.claim import Claim
from shibafu.resource.record import COMPLETE
from shibafu.runtime.cache import cache_list, cache_write


def change_labels(
    container_id: str, changes: Mapping[str, str | None], cache_dir: str, enforce: Callable[[], None]
) -> dict[str, str]:
    """Change a container's labels, and return all of them.

    They are in the record of each of its interfaces, and in the runtime's cache, by which CHECK and `repair`
    go as well.

    Args:
        container_id: the container.
        changes: labels; None removes one.
        cache_dir: the results that runtimes keep.
        enforce: has the kernel go by the records. If it fails, the labels stay as they were.

    Raises:
        CommandError: policies are not for it.
    """
    former = _change_records(container_id, lambda _, args: change_labels_arg(args, changes))
    try:
        enforce()
    except BaseException:
        _change_records(container_id, former.get)
        raise
    for cached in cache_list(container_id=container_id, directory=cache_dir):
        args = former.get((cached.network, cached.ifname))
        if args is not None:
            cached.cni_args = split_args(change_labels_arg(args, changes))
            cache_write(cached, cache_dir)
    return find_labels(container_id)


def _change_records(
    container_id: str, change: Callable[[tuple[str, str], str], str]
) -> dict[tuple[str, str], str]:
    """Change CNI_ARGS in a container's records; return what they were.

    Args:
        container_id: the container.
        change: returns them for a network and an interface, and what they are.

    Returns:
        By network and interface.
    """
    former = {}
    for place in list_attachments():
        record = place.read()
        if record.container_id != container_id or record.phase != COMPLETE:
            continue
        with Claim(place.state, place.link, record).lock():
            record = place.read()
            key = (place.state.network, record.ifname)
            former[key] = record.args
            record.args = change(key, record.args)
            place.state.update_attachment(place.link, record)
    if not former:
        raise _is_not_attached(container_id)
    return former


def find_labels(container_id: str) -> dict[str, str]:
    """Return a container's labels.

    Raises:
        CommandError: policies are not for it.
    """
    for record in list_records():
        if record.container_id == container_id:
            return dict(make_pod(record).labels)
    raise _is_not_attached(container_id)


def _is_not_attached(container_id: str) -> CommandError:
    return CommandError(
        f"policies are not for {container_id}: it is on no network of shibafu-bridge or shibafu-firewall",
        "attach it: shibafu network connect",
    )
