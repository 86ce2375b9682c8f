"""Addresses that outlive their container: one of the same ID gets them again.

    <directory>/<container ID>        a JSON object: network -> addresses

IDs must be names that people choose: of random ones, a file each would stay for ever. What is
remembered is a preference, not a reservation: addresses that somebody else has got are not waited for.
"""

import os

from shibafu.cni.config import Section, parse_config
from shibafu.cni.directories import make_directory, secure_given_directory
from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.cni.result import parse_result
from shibafu.lean.files import read_file, write_file
from shibafu.lean.json import dumps

_MAX_SIZE = 65536


def read_addresses(directory: str, container_id: str) -> dict[str, list[str]]:
    """Return the addresses that a container had, by network; none if no valid ones are saved.

    Raises:
        CniError: others can write there.
    """
    secure_given_directory(directory)
    try:
        document = parse_config(read_file(f"{directory}/{container_id}", _MAX_SIZE) or b"")
        return {name: document.texts(name) for name in document.values}
    except (CniError, OSError):
        return {}


def write_addresses(directory: str, container_id: str, results: dict[str, dict[str, object]]) -> None:
    """Save a container's addresses from its networks' results.

    Raises:
        CniError: the file cannot be written, or others can write there.
    """
    addresses = {
        network: [str(ip.address.address) for ip in parse_result(Section(result, "Result")).ips]
        for network, result in results.items()
    }
    path, aside = f"{directory}/{container_id}", f"{directory}/.{container_id}"
    secure_given_directory(directory)
    try:
        make_directory(directory, 0o700)
        write_file(aside, dumps(addresses).encode())
        os.rename(aside, path)
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot remember addresses in {path}: {error.strerror}") from None
