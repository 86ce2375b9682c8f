"""resolv.conf(5), for `ipam.resolvConf`: a file whose settings become the result's `dns`."""

import os
from errno import ENOENT

from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.lean.files import read_file

_MAX_FILE = 1 << 20


def parse_resolv_conf(path: str) -> dict[str, object]:
    """Return the file's settings in the shape of a result's `dns`, the empty ones left out.

    Raises:
        CniError: IO_FAILURE when it cannot be read.
    """
    try:
        content = read_file(path, _MAX_FILE, follow=True)
        if content is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
    except OSError as error:
        raise CniError(
            IO_FAILURE,
            f"open {path}: {(error.strerror or str(error)).lower()}",
            '"resolvConf" in the "ipam" section must be a file in the format of resolv.conf(5)',
        ) from None
    lists: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    domain = ""
    for line in content.decode("utf-8", "replace").splitlines():
        fields = line.split()
        if len(fields) < 2 or fields[0][0] in "#;":
            continue
        keyword, values = fields[0], fields[1:]
        if keyword == "nameserver":
            lists[keyword].append(values[0])
        elif keyword == "domain":
            domain = values[0]
        elif keyword in lists:
            lists[keyword] += values
    dns: dict[str, object] = {
        "nameservers": lists["nameserver"],
        "domain": domain,
        "search": lists["search"],
        "options": lists["options"],
    }
    return {key: value for key, value in dns.items() if value}
