"""poststop: take a container off its networks, when its network namespace is gone already."""

from shibafu.cni.errors import IO_FAILURE, CniError, merge_errors
from shibafu.hook.steps import calc_ifname
from shibafu.resource.identity import is_same_netns
from shibafu.runtime.cache import CachedAttachment, cache_list
from shibafu.runtime.chain import Runtime
from shibafu.runtime.conflist import ConflistError, NetworkList, NetworkNotFound


def detach(runtime: Runtime, container_id: str, networks: list[str]) -> None:
    """Detach a container from all of its networks.

    Raises:
        CniError: everything that failed.
    """
    attachments, errors = find_attachments(runtime, container_id, networks)
    errors += delete_attachments(runtime, container_id, attachments)
    if errors:
        error = merge_errors(errors)
        raise CniError(error.code, f"cannot detach {container_id}: {error.msg}", error.details)


def is_of_other(attachment: CachedAttachment, netns: str) -> bool:
    """Return whether an attachment is another container's, which has the same ID.

    Args:
        attachment: an attachment under a container's ID.
        netns: the path of that container's network namespace; empty when it has ended. What has ended is
            nobody else's.
    """
    return attachment.is_alive() and not (netns and is_same_netns(attachment.netns, netns))


def find_attachments(
    runtime: Runtime, container_id: str, networks: list[str], netns: str = ""
) -> tuple[list[tuple[NetworkList, str]], list[CniError]]:
    """Return the networks and links to delete, the last first, and why some cannot be.

    They are those that the cache knows, as they were when the container was attached, and those that
    are asked for, whose ADD may have been killed before it got into the cache. Those of another container
    of the same ID, which is alive, are left out.

    Args:
        runtime: has the cache.
        container_id: the container.
        networks: those that are asked for.
        netns: the path of its network namespace; empty when that is gone.
    """
    found = {}
    others = set()
    errors: list[CniError] = []
    for attachment in cache_list(container_id=container_id, directory=runtime.cache_dir):
        if is_of_other(attachment, netns):
            others.add((attachment.network, attachment.ifname))
        # Others attach containers by namespaces that have a name, and detach them themselves.
        elif attachment.netns.startswith("/proc/"):
            try:
                network = runtime.find_attached_network(attachment)
                found[attachment.network, attachment.ifname] = network
            except ConflistError as error:
                errors.append(error)
    for number, name in enumerate(networks):
        key = (name, calc_ifname(number))
        if key in others:
            continue
        try:
            found[key] = found.get(key) or runtime.find_network(name)
        except NetworkNotFound:
            pass  # it has been removed, or never was there: then this container is not on it
        except ConflistError as error:
            errors.append(error)
    by_link = sorted(found.items(), key=lambda item: item[0][1], reverse=True)
    return [(network, ifname) for (_, ifname), network in by_link], errors


def delete_attachments(
    runtime: Runtime, container_id: str, attachments: list[tuple[NetworkList, str]], netns: str = ""
) -> list[CniError]:
    """Delete attachments, going on past failures, which are returned."""
    errors = []
    for network, ifname in attachments:
        try:
            runtime.delete(network, container_id, netns, ifname)
        except CniError as error:
            errors.append(error)
        except OSError as error:
            errors.append(CniError(IO_FAILURE, str(error)))
    return errors
