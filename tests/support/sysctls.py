"""The sysctls that the network namespaces of tests start with, whatever those of the host are."""

from contextlib import suppress
from pathlib import Path

CONF = Path(__file__).with_name("namespace.conf")


def read_sysctls() -> dict[str, str]:
    """Return the values in namespace.conf by their files' paths below /proc/sys."""
    pairs = (line.partition(" = ") for line in CONF.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


_VALUES = [(f"/proc/sys/{name}", value.encode()) for name, value in read_sysctls().items()]


def write_sysctls() -> None:
    """Give this thread's network namespace the values of namespace.conf, but for what the kernel lacks."""
    for path, value in _VALUES:
        with suppress(FileNotFoundError), open(path, "wb", buffering=0) as file:
            file.write(value)
