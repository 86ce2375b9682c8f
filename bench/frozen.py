"""An executable like ours whose main does nothing: what every call pays before the first line of ours."""

import marshal
import os
from pathlib import Path

_PROGRAM = "shibafu-bridge"
_BUNDLE = "shibafu.bundle"
# The module that the executable runs the main of, and what that is in.
_MODULES = {
    "shibafu": "",
    "shibafu.bridge": "",
    "shibafu.bridge.__main__": "def main():\n    return 0\n",
}


def make_empty_program(home: Path, directory: Path) -> str:
    """Copy the cold executable of a build with a bundle of another main only; see packaging/freeze/bundle.py.

    This process has to be of the version of Python that the executable was built from.

    Args:
        home: the folder of the build.
        directory: is made.
    """
    internal = directory / "_internal"
    internal.mkdir(parents=True)
    for path in (home / "_internal").iterdir():
        if path.name != _BUNDLE:
            os.symlink(path, internal / path.name)
    copy = directory / _PROGRAM
    # As packaging/install/versions.sh makes it; the interpreter imports from the folder that it is in.
    first = f"#!{directory}/_internal/python3 -ISXutf8\n"
    copy.write_text(first + (home / "_internal" / "cold" / _PROGRAM).read_text())
    copy.chmod(0o755)

    index, content = {}, b""
    for name, source in _MODULES.items():
        code = compile(source, name, "exec", dont_inherit=True, optimize=2)
        module = marshal.dumps((not source, (), code))
        index[name] = (len(content), len(module))
        content += module
    last = marshal.dumps(index)
    head = marshal.dumps(({}, (len(content), len(last))))
    (internal / _BUNDLE).write_bytes(len(head).to_bytes(4, "little") + head + content + last)
    return str(copy)
