"""An executable like ours whose main does nothing: what every call pays before the first line of ours."""

import marshal
import os
from pathlib import Path

_BUNDLE = "shibafu.bundle"
_MODULES = {"shibafu": "", "shibafu.bridge": "", "shibafu.bridge.__main__": "def main():\n    return 0\n"}


def make_empty_program(program: Path, directory: Path) -> str:
    """Put the executable `program` beside a bundle of modules that do nothing; see packaging/entry.py.

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

    index: dict[str, tuple[bool, int, int]] = {}
    code = b""
    for name, source in _MODULES.items():
        compiled = marshal.dumps(compile(source, name, "exec", dont_inherit=True, optimize=2))
        index[name] = (not name.endswith("__main__"), len(code), len(compiled))
        code += compiled
    head = marshal.dumps(index)
    (internal / _BUNDLE).write_bytes(len(head).to_bytes(4, "little") + head + code)
    return str(copy)
