"""What a verb imports, seen from a fresh interpreter."""

import subprocess
from collections.abc import Iterable, Mapping
from json import dumps, loads
from pathlib import Path

import shibafu
import shibafu_ipam

# Debian's interpreter is the one that the executables are built with.
INTERPRETER = ["/usr/bin/python3", "-I", "-S"]
_IMPORT_OS = "import sys; before = set(sys.modules); import os; print(*set(sys.modules) - before)"
# What `import os` means, all of it built in or frozen. Newer releases import errno there, too.
OS_MODULES = set(subprocess.check_output([*INTERPRETER, "-c", _IMPORT_OS], text=True).split())

# Nothing of these may ever come in, whoever pulls it. (Listed again in spite of the exact lists, to say why
# such a module is refused: each costs a fair part of a whole call.)
FORBIDDEN = {
    "argparse",
    "collections",
    "contextlib",
    "ctypes",
    "dataclasses",
    "enum",
    "filelock",
    "functools",
    "hashlib",
    "inspect",
    "ipaddress",
    "json",
    "logging",
    "pathlib",
    "pyroute2",
    "re",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "traceback",
    "typing",
    "yaml",
}

# The report goes into a file: what the verb prints is its answer, and how it ends is its own matter.
_PROGRAM = """
import sys
before = set(sys.modules)
sys.path[:0] = [{plugins!r}, {ipam!r}]
from io import BytesIO
from {module}.__main__ import run
sys.argv[0] = {program!r}
answer = BytesIO()
status = run(dict({env!r}), BytesIO({stdin!r}), answer)
modules = sorted(set(sys.modules) - before)
import json
with open({report!r}, "w") as file:
    json.dump([status, answer.getvalue().decode(), modules], file)
"""


def measure(
    report: Path,
    module: str,
    env: Mapping[str, str],
    config: Mapping[str, object],
    prefix: Iterable[str] = (),
    program: str = "",
) -> tuple[int, str, set[str]]:
    """Run one verb and return its exit status, its answer, and the modules that it imported.

    Args:
        report: a file to write to.
        module: `shibafu.bridge` or `shibafu_ipam`.
        env: the environment of the call.
        config: the network configuration.
        prefix: what to run the interpreter with, such as nsenter(1).
        program: what the verb sees as its executable.
    """
    source = _PROGRAM.format(
        plugins=str(Path(shibafu.__path__[0]).parent),
        ipam=str(Path(shibafu_ipam.__path__[0]).parent),
        module=module,
        env=dict(env),
        stdin=dumps(config).encode(),
        report=str(report),
        program=program,
    )
    subprocess.run([*prefix, *INTERPRETER, "-c", source], check=True)
    status, answer, modules = loads(report.read_text())
    return status, answer, set(modules)


def check_budget(modules: set[str], allowed: Iterable[str]) -> None:
    """Compare imports with the list of a verb, both ways: a list that says too much is wrong too."""
    forbidden = {name for name in modules if name.split(".")[0] in FORBIDDEN}
    assert not forbidden
    assert modules == set(allowed), sorted(modules ^ set(allowed))
