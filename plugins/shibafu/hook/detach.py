"""poststop: take a container off its networks, when its network namespace is gone already."""

from shibafu.cni.errors import IO_FAILURE, CniError, merge_errors
from shibafu.hook.steps import Step, calc_ifname, give_capabilities
from shibafu.resource.identity import is_same_netns
from shibafu.runtime.cache import CachedAttachment, cache_list
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import ConflistError, NetworkNotFound
from shibafu.runtime.roles import append_capable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.hook.settings import Settings


def detach(
    runtime: Runtime, container_id: str, networks: list[str], settings: "Settings | None" = None
) -> None:
    """Detach a container from all of its networks.

    Args:
        runtime: has the cache, and calls the plugins.
        container_id: the container.
        networks: those that are asked for.
        settings: what is requested in addition; None if that is invalid. Where the cache is lost, the plugins
            that did it are called for that reason.

    Raises:
        CniError: everything that failed.
    """
    wanted, errors = _list_wanted(runtime, networks, settings)
    attachments, unknown = find_attachments(runtime, container_id, wanted)
    errors += unknown
    errors += delete_attachments(runtime, container_id, attachments)
    if errors:
        error = merge_errors(errors)
        raise CniError(error.code, f"cannot detach {container_id}: {error.msg}", error.details)


def _list_wanted(
    runtime: Runtime, networks: list[str], settings: "Settings | None"
) -> tuple[list[Step], list[CniError]]:
    """Return the networks that are asked for, with the chains that their ADD has called, and errors."""
    steps: list[Step] = []
    errors: list[CniError] = []
    for number, name in enumerate(networks):
        try:
            steps.append(Step(runtime.find_network(name), calc_ifname(number)))
        except NetworkNotFound:
            pass  # it has been removed, or never was there: then this container is not on it
        except ConflistError as error:
            errors.append(error)
    if settings is not None and steps:
        try:
            give_capabilities(steps, settings, lambda network, what: append_capable(runtime, network, what))
        except CniError:
            pass  # no plugin can do it, so none has done it
    return steps, errors


def is_of_other(attachment: CachedAttachment, netns: str) -> bool:
    """Return whether an attachment is another container's, which has the same ID.

    Args:
        attachment: an attachment under a container's ID.
        netns: the path of that container's network namespace; empty when it has ended. What has ended is
            nobody else's.
    """
    return attachment.is_alive() and not (netns and is_same_netns(attachment.netns, netns))


def find_attachments(
    runtime: Runtime, container_id: str, wanted: "Iterable[Step]", netns: str = ""
) -> tuple[list[Step], list[CniError]]:
    """Return the networks and links to delete, the last first, and why some cannot be.

    They are those that the cache knows, as they were when the container was attached, and those that
    are asked for, whose ADD may have been killed before it got into the cache. Those of another container
    of the same ID, which is alive, are left out.

    Args:
        runtime: has the cache.
        container_id: the container.
        wanted: those that are asked for.
        netns: the path of its network namespace; empty when that is gone.
    """
    found: dict[tuple[str, str], Step] = {}
    others = set()
    errors: list[CniError] = []
    for attachment in cache_list(container_id=container_id, directory=runtime.cache_dir):
        if is_of_other(attachment, netns):
            others.add((attachment.network, attachment.ifname))
        # Others attach containers by namespaces that have a name, and detach them themselves.
        elif attachment.netns.startswith("/proc/"):
            try:
                network = runtime.find_attached_network(attachment)
                found[attachment.network, attachment.ifname] = Step(network, attachment.ifname)
            except ConflistError as error:
                errors.append(error)
    for step in wanted:
        key = (step.network.name, step.ifname)
        if key not in others:
            found.setdefault(key, step)
    return sorted(found.values(), key=lambda step: step.ifname, reverse=True), errors


def delete_attachments(
    runtime: Runtime, container_id: str, attachments: "Iterable[Step]", netns: str = ""
) -> list[CniError]:
    """Delete attachments, going on past failures, which are returned."""
    errors = []
    for step in attachments:
        try:
            # Without any, the cache has them.
            capabilities = step.capabilities or None
            runtime.delete(step.network, container_id, netns, step.ifname, capabilities=capabilities)
        except CniError as error:
            errors.append(error)
        except OSError as error:
            errors.append(CniError(IO_FAILURE, str(error)))
    return errors
