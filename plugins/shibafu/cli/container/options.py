"""The container that a command line asks for."""

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from shibafu.container.errors import ContainerError
from shibafu.container.image import Defaults, Image, ImageStore
from shibafu.container.importing import extract_rootfs
from shibafu.container.limits import parse_limits
from shibafu.container.privileges import Privileges, calc_privileges, parse_capabilities
from shibafu.container.seccomp import UNCONFINED, MissingProfileError
from shibafu.container.specification import NO_NETWORK, Specification, Volume
from shibafu.container.users import find_user
from shibafu.networks.spec import DEFAULT_NETWORK

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Unpack = Callable[[Path], Path]


def calc_specification(
    arguments: Namespace, images: ImageStore, is_terminal: bool
) -> tuple[Specification, Unpack | None]:
    """Return what the options of `shibafu run` say, and how to unpack a root file system that is an archive.

    Args:
        arguments: the options.
        images: where names of images lead.
        is_terminal: whether a person sits at standard input.

    Raises:
        ContainerError: something does not make sense.
    """
    image, unpack = find_image(arguments.image, images)
    name = arguments.name or os.urandom(6).hex()
    if arguments.detach and arguments.tty:
        raise ContainerError("a container in the background has no terminal", "omit --tty or --detach")
    if arguments.tty and not is_terminal:
        raise ContainerError("standard input is not a terminal", "omit --tty")
    uid, gid = find_user(Path(image.rootfs), arguments.user or image.defaults.user)
    networks = arguments.network or [DEFAULT_NETWORK]
    seccomp, has_no_new_privileges = parse_security_options(arguments.security_opt)
    spec = Specification(
        name=name,
        image=arguments.image,
        rootfs=image.rootfs,
        argv=_calc_argv(image, arguments.command),
        env=_calc_env(image.defaults.env, arguments.env, arguments.tty),
        workdir=arguments.workdir or image.defaults.workdir,
        uid=uid,
        gid=gid,
        networks=networks,
        ip=arguments.ip,
        mac=arguments.mac,
        ports=arguments.publish,
        bandwidth=arguments.bandwidth,
        namespace=arguments.namespace or "",
        labels=dict(arguments.label),
        named_ports=[f"{name}={port}/{protocol.lower()}" for name, protocol, port in arguments.named_port],
        volumes=[parse_volume(text) for text in arguments.volume],
        hostname=arguments.hostname or name,
        is_removed=arguments.rm,
        is_named=bool(arguments.name) and networks != [NO_NETWORK],
        has_terminal=arguments.tty,
        added=parse_capabilities(arguments.cap_add),
        dropped=parse_capabilities(arguments.cap_drop),
        seccomp=seccomp,
        has_no_new_privileges=has_no_new_privileges,
        limits=parse_limits(arguments.ulimit),
    )
    if not spec.workdir.startswith("/"):
        raise ContainerError(f"the working directory must be an absolute path: {spec.workdir}")
    spec.validate()
    return spec, unpack


def require_privileges(spec: Specification) -> Privileges:
    """Return what a container may do, before anything is made for it.

    Raises:
        ContainerError: its options do not make sense, or there is no profile of system calls.
    """
    try:
        return calc_privileges(spec)
    except MissingProfileError as error:
        hint = f"or let the container use all system calls: --security-opt seccomp={UNCONFINED}"
        raise ContainerError(error.message, f"{error.hint}; {hint}") from None


def find_image(text: str, images: ImageStore) -> tuple[Image, Unpack | None]:
    """Return an image by its name, or a directory or archive as one.

    Raises:
        ContainerError: it is none of them.
    """
    image = images.find(text) if "/" not in text else None
    if image is not None:
        return image, None
    path = Path(os.path.abspath(text))
    if path.is_dir():
        return Image(text, str(path), Defaults(env=[_PATH]), str(path), 0), None
    if path.is_file():

        def unpack(directory: Path) -> Path:
            rootfs = directory / "image"
            extract_rootfs(path, rootfs)
            return rootfs

        return Image(text, "", Defaults(env=[_PATH]), str(path), 0), unpack
    known = ", ".join(image.name for image in images.images())
    hint = f"existing images: {known}" if known else "make one: shibafu image import alpine --builtin"
    raise ContainerError(f"there is no image, directory or archive {text}", hint)


def parse_volume(text: str) -> Volume:
    """Parse `SOURCE:PATH[:ro]`.

    Raises:
        ContainerError: it is none, or there is nothing at SOURCE.
    """
    source, _, rest = text.partition(":")
    destination, _, mode = rest.partition(":")
    if not source or not destination.startswith("/") or mode not in ("", "ro", "rw"):
        raise ContainerError(
            f'invalid volume "{text}"', "write SOURCE:PATH or SOURCE:PATH:ro, as /srv:/srv:ro"
        )
    path = os.path.abspath(source)
    if not os.path.exists(path):
        raise ContainerError(f"there is no file or directory {path}", f"make it: mkdir -p {path}")
    return Volume(path, destination, mode == "ro")


def parse_security_options(texts: list[str]) -> tuple[str, bool]:
    """Return the seccomp profile, empty for the default one, and whether no new privileges can be had.

    Raises:
        ContainerError: an option is unknown.
    """
    seccomp, has_no_new_privileges = "", False
    for text in texts:
        key, _, value = text.partition("=")
        if text in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges=false"):
            has_no_new_privileges = value != "false"
        elif key == "seccomp" and value:
            seccomp = value if value == UNCONFINED else os.path.abspath(value)
        else:
            raise ContainerError(
                f'invalid security option "{text}"',
                f"write seccomp=FILE, seccomp={UNCONFINED}, or no-new-privileges",
            )
    return seccomp, has_no_new_privileges


def _calc_argv(image: Image, command: list[str]) -> list[str]:
    words = command[1:] if command[:1] == ["--"] else command
    argv = [*image.defaults.entrypoint, *(words or image.defaults.command)]
    if not argv:
        raise ContainerError(f"image {image.name} has no default command", "name one after the image")
    return argv


def _calc_env(defaults: list[str], stated: list[str], is_terminal: bool) -> list[str]:
    """Return the environment; a name without a value takes this process's."""
    env: dict[str, str] = {}
    terminal = [f"TERM={os.environ.get('TERM', 'xterm')}"] if is_terminal else []
    for text in [_PATH, *terminal, *defaults, *stated]:
        name, equals, value = text.partition("=")
        if not name:
            raise ContainerError(
                f'invalid variable "{text}"', "write NAME=VALUE, or NAME to pass on your own value"
            )
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    return [f"{name}={value}" for name, value in env.items()]
