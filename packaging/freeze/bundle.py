"""Makes the bundle: one file that has the code of all modules of the plugins; entry.py imports from it.

What is in the file:

    4 bytes     the size of the index, little endian
    the index   marshalled: of each module, by name, whether it is a package, where its code begins after the
                index, and the size of the code
    the code    marshalled, module after module
"""

import marshal
import os


def is_package(source_path):
    """Tell a package from a module."""
    return os.path.basename(source_path) == "__init__.py"


def calc_file_name(name, source_path):
    """Return a module's file name below the folder that it is imported from; error messages show it."""
    return name.replace(".", "/") + ("/__init__.py" if is_package(source_path) else ".py")


def compile_module(name, source_path):
    """Return a module's code, marshalled; optimised, it has neither docstrings nor asserts."""
    with open(source_path, "rb") as file:
        source = file.read()
    return dump(compile(source, calc_file_name(name, source_path), "exec", dont_inherit=True, optimize=2))


def dump(value):
    """Marshal a value.

    Marshalled values also show which objects happened to be referenced twice when they were made. Read
    back, they show only their own structure: two builds give the same bytes.
    """
    return marshal.dumps(marshal.loads(marshal.dumps(value)))  # noqa: S302 - just made


def make_bundle(sources):
    """Return the bundle's content.

    Args:
        sources: each module's source path.
    """
    index, code = {}, b""
    for name, path in sorted(sources.items()):
        compiled = compile_module(name, path)
        index[name] = (is_package(path), len(code), len(compiled))
        code += compiled
    head = dump(index)
    return len(head).to_bytes(4, "little") + head + code
