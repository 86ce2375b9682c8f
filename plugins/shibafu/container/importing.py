"""Making images out of what people have: directories, tar archives, OCI layouts, docker-archives.

Archives are unpacked by tar(1), layers by umoci(1) and skopeo(1): they know whiteouts, hard links, devices
and what else there is in them, and keep to their directory whatever an archive says.
"""

import json
from pathlib import Path
from typing import Any

from shibafu.cni.directories import make_directory
from shibafu.container.errors import ContainerError
from shibafu.container.image import Defaults, Making
from shibafu.container.tools import run_tool
from shibafu.lean.files import read_file

_LAYOUT, _DOCKER = "oci-layout", "manifest.json"
_TAG = "shibafu"
_TAR = "it unpacks archives"
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json"
_MAX_DOCUMENT = 1 << 24


def import_image(making: Making, source: Path) -> None:
    """Fill an image with the root file system that a file or directory has.

    Raises:
        ContainerError: it has none, or a program that is needed is missing.
    """
    if not source.exists():
        raise ContainerError(f"there is no file or directory {source}")
    if source.is_dir():
        if (source / _LAYOUT).is_file():
            _import_layout(making, source)
        else:
            copy_rootfs(source, making.rootfs)
    else:
        kind = _find_kind(source)
        if kind is None:
            extract_rootfs(source, making.rootfs)
        else:
            _import_archive(making, source, kind)
    if not any(making.rootfs.iterdir()):
        raise ContainerError(f"{source} has no root file system: the directory is empty")


def copy_rootfs(source: Path, rootfs: Path) -> None:
    """Copy a directory with owners, modes, links and devices as they are."""
    make_directory(str(rootfs), 0o755)
    run_tool(
        "cp", "--archive", "--reflink=auto", "--one-file-system", f"{source}/.", str(rootfs), why="it copies"
    )


def extract_rootfs(source: Path, rootfs: Path) -> None:
    """Unpack a tar archive, compressed or not."""
    make_directory(str(rootfs), 0o755)
    run_tool(
        "tar",
        "--extract",
        "--file",
        str(source),
        "--directory",
        str(rootfs),
        "--numeric-owner",
        "--preserve-permissions",
        why=_TAR,
    )


def _find_kind(source: Path) -> str | None:
    """Return the file that tells which kind of image an archive has; None for a root file system."""
    try:
        listing = run_tool("tar", "--list", "--file", str(source), why=_TAR)
    except ContainerError as error:
        raise ContainerError(
            f"{source} is not a tar archive: {error.message}",
            "an image is a directory, a tar archive of one, an OCI layout, or what `docker save` writes",
        ) from None
    names = {name.removeprefix("./") for name in listing.splitlines()}
    return next((kind for kind in (_LAYOUT, _DOCKER) if kind in names), None)


def _import_archive(making: Making, source: Path, kind: str) -> None:
    layout = making.directory / "layout"
    if kind == _LAYOUT:
        make_directory(str(layout), 0o700)
        run_tool("tar", "-xf", str(source), "-C", str(layout), why=_TAR)
    else:
        run_tool(
            "skopeo",
            # A file that its owner names needs no signature.
            "--insecure-policy",
            "copy",
            "--quiet",
            f"docker-archive:{source}",
            f"oci:{layout}:{_TAG}",
            why="it reads what `docker save` writes",
        )
    _import_layout(making, layout)
    run_tool("rm", "-r", str(layout), why="it removes files")


def _import_layout(making: Making, layout: Path) -> None:
    """Unpack the layers of the only image of an OCI layout, and take over what it says of its containers."""
    for path in layout.rglob("*"):
        # Reading a FIFO waits for its writer.
        if not path.is_dir() and not path.is_file():
            raise ContainerError(f"the OCI layout cannot be read: {path.name} is not a regular file")
    try:
        reference, making.defaults = _read_layout(layout)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ContainerError(
            f"the OCI layout is invalid: {type(error).__name__}: {error}", "download the image again"
        ) from None
    unpacked = making.directory / "unpacked"
    # `raw`: no config.json is wanted, only the files.
    run_tool(
        "umoci",
        "raw",
        "unpack",
        "--image",
        f"{layout}:{reference}",
        str(unpacked),
        why="it unpacks the layers of images",
    )
    unpacked.rename(making.rootfs)


def _read_layout(layout: Path) -> tuple[str, Defaults]:
    """Return the tag of the only image, and what it says of its containers.

    Raises:
        ContainerError: there is no such image, or a document cannot be read.
        KeyError, TypeError, AttributeError, ValueError: a document is invalid.
    """
    index = _read_json(layout / "index.json")
    manifests = [entry for entry in index.get("manifests", []) if entry.get("mediaType", "") == _MANIFESTS]
    if len(manifests) != 1:
        raise ContainerError(
            f"the OCI layout has {len(manifests)} images, but must have exactly one",
            f"copy one of them: skopeo copy oci:{layout}:NAME oci:OTHER:NAME",
        )
    manifest = _read_json(_find_blob(layout, manifests[0]))
    defaults = _parse_defaults(_read_json(_find_blob(layout, manifest["config"])))
    reference = manifests[0].get("annotations", {}).get("org.opencontainers.image.ref.name")
    if not reference:
        raise ContainerError("the image of the OCI layout has no tag", "add one: umoci tag")
    return str(reference), defaults


def _find_blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    algorithm, _, digits = str(descriptor["digest"]).partition(":")
    if not algorithm.isalnum() or not digits.isalnum():
        raise ContainerError(f"the OCI layout has a malformed digest: {descriptor['digest']}")
    return layout / "blobs" / algorithm / digits


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_file(str(path), _MAX_DOCUMENT, follow=True) or b"")
    except (OSError, ValueError, RecursionError) as error:
        raise ContainerError(f"the OCI layout cannot be read: {path.name}: {error}") from None
    if not isinstance(document, dict):
        raise ContainerError(f"the OCI layout cannot be read: {path.name} is not a JSON object")
    return document


def _parse_defaults(document: dict[str, Any]) -> Defaults:
    config = document.get("config") or {}
    entrypoint = _parse_texts(config, "Entrypoint")
    return Defaults(
        entrypoint=entrypoint,
        command=_parse_texts(config, "Cmd") or ([] if entrypoint else ["/bin/sh"]),
        env=_parse_texts(config, "Env"),
        workdir=_parse_text(config, "WorkingDir") or "/",
        user=_parse_text(config, "User"),
    )


def _parse_texts(config: dict[str, Any], key: str) -> list[str]:
    values = config.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f'"{key}" is not a list of strings')
    return values


def _parse_text(config: dict[str, Any], key: str) -> str:
    value = config.get(key) or ""
    if not isinstance(value, str):
        raise TypeError(f'"{key}" is not a string')
    return value
