"""createRuntime and prestart: give a container its networks, or nothing at all."""

import os

from shibafu.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, NETWORK_SETUP, CniError
from shibafu.hook.container import Container
from shibafu.hook.detach import delete_attachments, find_attachments, is_of_other
from shibafu.hook.name_resolution import write_files
from shibafu.hook.settings import Settings
from shibafu.hook.steps import Step, calc_steps
from shibafu.hook.sticky_addresses import read_addresses, write_addresses
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.namespace import entered, is_current_netns, open_netns
from shibafu.netlink.socket import NetlinkSocket
from shibafu.runtime.cache import cache_list
from shibafu.runtime.chain import Runtime
from shibafu.runtime.roles import append_capable


def attach(runtime: Runtime, container: Container, settings: Settings, sticky_dir: str = "") -> None:
    """Attach a container to its networks.

    Args:
        runtime: calls the plugins.
        container: the container.
        settings: what is asked for.
        sticky_dir: where addresses are remembered, see `sticky`; empty to remember none.

    Raises:
        CniError: one of them failed, and the container is on none; or another container has its ID.
    """
    refuse_other(runtime, container)
    steps = calc_steps(
        [runtime.find_network(name) for name in settings.networks],
        settings,
        read_addresses(sticky_dir, container.id) if sticky_dir else {},
        lambda network, capability: append_capable(runtime, network, capability),
    )
    setup_loopback(container)
    # What an earlier container of this ID has left would stand in the way; should it not go away,
    # ADD will say what is wrong.
    leftovers, _ = find_attachments(runtime, container.id, steps, container.netns)
    delete_attachments(runtime, container.id, leftovers)
    results = []
    try:
        for step in steps:
            results.append(_add(runtime, container, step))
        write_files(container, settings, results)
        if sticky_dir:
            write_addresses(sticky_dir, container.id, dict(zip(settings.networks, results, strict=True)))
    except BaseException:
        # After a signal, too. Not every runtime runs the poststop hooks of a container that it could not
        # create.
        delete_attachments(runtime, container.id, reversed(steps[: len(results)]), container.netns)
        raise


def refuse_other(runtime: Runtime, container: Container) -> None:
    """Refuse a container whose ID another attached one has: networks could not tell them apart.

    Each root of an OCI runtime has IDs of its own, and engines do not look at each other's.

    Raises:
        CniError: there is one.
    """
    for attachment in cache_list(container_id=container.id, directory=runtime.cache_dir):
        if is_of_other(attachment, container.netns):
            raise CniError(
                INVALID_ENVIRONMENT,
                f"container {container.id} is already attached, by another runtime or another root of runc, "
                f'to network "{attachment.network}" with the namespace {attachment.netns}',
                "choose another name",
            )


def setup_loopback(container: Container) -> None:
    """Set lo up in a container's network namespace.

    Raises:
        CniError: there is none, or it is the host's.
    """
    try:
        descriptor = open_netns(container.netns)
    except OSError as error:
        raise CniError(
            INVALID_CONFIG, f"cannot open the network namespace of {container.id}: {error}"
        ) from None
    try:
        if is_current_netns(descriptor):
            raise CniError(
                INVALID_CONFIG,
                f"{container.id} has no network namespace of its own",
                'add {"type": "network"} to linux.namespaces in config.json',
            )
        with entered(descriptor), NetlinkSocket() as sock:
            sock.request(link_set("lo", up=True))
    except OSError as error:
        raise CniError(NETWORK_SETUP, f"cannot set lo up in {container.id}: {error}") from None
    finally:
        os.close(descriptor)


def _add(runtime: Runtime, container: Container, step: Step) -> dict[str, object]:
    try:
        return _call_add(runtime, container, step)
    except CniError:
        if not step.is_preference:
            raise
    # Another container has been given the address.
    step.drop_ips()
    return _call_add(runtime, container, step)


def _call_add(runtime: Runtime, container: Container, step: Step) -> dict[str, object]:
    try:
        return runtime.add(
            step.network, container.id, container.netns, step.ifname, step.args, step.capabilities
        )
    except CniError as error:
        what = f'cannot attach {container.id} to network "{step.network.name}": {error.msg}'
        raise CniError(error.code, what, error.details) from None
