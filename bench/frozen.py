"""An executable like ours whose main does nothing: what every call pays before the first line of ours."""

import marshal
import os
from pathlib import Path

_BUNDLE = "shibafu.bundle"
_MODULE = "shibafu.bridge.__main__"
_SOURCE = "def main():\n    return 0\n"


def make_empty_program(program: Path, directory: Path) -> str:
    """Copy the executable `program`, and its bundle with another main module in it; see packaging/entry.py.

    This process has to be of the version of Python that the executable was built from.
    """
    internal = directory / "_internal"
    internal.mkdir(parents=True)
    for path in (program.parent / "_internal").iterdir():
        if path.name != _BUNDLE:
            os.symlink(path, internal / path.name)
    copy = directory / program.name
    copy.write_bytes(program.read_bytes())
    copy.chmod(0o755)

    bundle = (program.parent / "_internal" / _BUNDLE).read_bytes()
    size = int.from_bytes(bundle[:4], "little")
    index = marshal.loads(bundle[4 : 4 + size])  # noqa: S302 - just built
    code = bundle[4 + size :]
    compiled = marshal.dumps(compile(_SOURCE, _MODULE, "exec", dont_inherit=True, optimize=2))
    # Whether it is a package, where its code is, and lists of which the empty one is right.
    index[_MODULE] = (False, len(code), len(compiled), *([] for _ in index[_MODULE][3:]))
    head = marshal.dumps(index)
    (internal / _BUNDLE).write_bytes(len(head).to_bytes(4, "little") + head + code + compiled)
    return str(copy)
