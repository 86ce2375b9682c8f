"""What an executable runs first, in place of PyInstaller's own bootstrap and run-time hooks.

The bootloader has started an isolated interpreter (no site, no PYTHON* variables, UTF-8 whatever the
locale) and set `sys._MEIPASS` to the folder `_internal`. Which module's `main` to run is the run-time
option `main` of the executable: the name that it is called by says nothing, since plugins are called
through links of any name.

`posix` does here what `os` does elsewhere, because the import of `os` costs 0.8 ms, a tenth of the start.
"""

import gc
import posix
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
else:
    ModuleType = type(sys)


class BundleImporter:
    """Finds and loads the modules of the bundle; one .pyc file for each would cost 2 ms more in an ADD.

    The bundle is opened anew for each module, because a program may close descriptors that it does
    not know, as daemons and forked children do.

    Args:
        path: the bundle: the size of the index (4 bytes, little endian), the index, the modules' code.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        index_size = int.from_bytes(self.read(0, 4), "little")
        # A module's name -> (whether it is a package, where its code begins after the index, its size, the
        # modules that it needs in the order of their import).
        self.index: dict[str, tuple[bool, int, int, list[str]]]
        self.index = loads(self.read(4, index_size))  # noqa: S302 - our own
        self.code_start = 4 + index_size

    def read(self, offset: int, size: int) -> bytes:
        """Read a part of the bundle."""
        descriptor = posix.open(self.path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return posix.pread(descriptor, size, offset)
        finally:
            posix.close(descriptor)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a module for `import`; see importlib.abc.MetaPathFinder."""
        found = self.index.get(name)
        if found is None:
            return None
        for needed in found[3]:
            if needed not in sys.modules:
                self.preload(needed)
        # A loader by its methods: the class importlib.abc.Loader would have to be imported.
        return ModuleSpec(name, self, is_package=found[0])  # type: ignore[arg-type]

    def preload(self, name: str) -> None:
        """Import a module whose own imports are done, without the 20 us that importlib takes for each."""
        module = ModuleType(name)
        package, _, child = name.rpartition(".")
        module.__package__ = package
        if self.index[name][0]:
            module.__path__ = []
            module.__package__ = name
        sys.modules[name] = module
        exec(self.load_code(name), module.__dict__)  # noqa: S102 - what every loader does
        if package:
            setattr(sys.modules[package], child, module)

    def load_code(self, name: str) -> "CodeType":
        """Read a module's code."""
        _, offset, size, _ = self.index[name]
        return loads(self.read(self.code_start + offset, size))  # type: ignore[no-any-return]  # noqa: S302 - our own

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to `import` to make the module object; see importlib.abc.Loader."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run a module's code; see importlib.abc.Loader."""
        exec(self.load_code(module.__name__), module.__dict__)  # noqa: S102 - what every loader does


def restore_environment(internal: str) -> None:
    """Take out of the environment what the bootloader put there for itself, so that no child inherits it."""
    # os.environ is made of posix.environ when `os` is imported.
    environ = posix.environ
    for name in [name for name in environ if name.startswith(b"_PYI_")]:
        del environ[name]
        posix.unsetenv(name)
    # The bootloader's folder comes before what the caller had; LD_LIBRARY_PATH_ORIG is a copy of the latter.
    own = internal.encode("utf-8", "surrogateescape")
    search_path = environ.get(b"LD_LIBRARY_PATH", b"")
    if search_path == own:
        del environ[b"LD_LIBRARY_PATH"]
        posix.unsetenv(b"LD_LIBRARY_PATH")
    elif search_path.startswith(own + b":"):
        environ[b"LD_LIBRARY_PATH"] = search_path.removeprefix(own + b":")
        posix.putenv(b"LD_LIBRARY_PATH", environ[b"LD_LIBRARY_PATH"])
        environ.pop(b"LD_LIBRARY_PATH_ORIG", None)
        posix.unsetenv(b"LD_LIBRARY_PATH_ORIG")


def run(name: str) -> int:
    """Import the module `name` and return the exit status of its `main`."""
    module = __import__(name, fromlist=["main"])
    try:
        return module.main() or 0
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or 0
        raise


if __name__ == "__main__":
    gc.disable()  # a call ends before garbage matters
    internal: str = sys._MEIPASS  # type: ignore[attr-defined]  # the bootloader's
    sys.frozen = True  # type: ignore[attr-defined]  # by convention of all that freeze Python programs
    sys.path = [internal]  # the bootloader lists two more, which do not exist
    sys.meta_path.insert(0, BundleImporter(f"{internal}/shibafu.bundle"))
    restore_environment(internal)
    status = run(sys._xoptions["main"])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # the caller may have closed it
            stream.flush()
    posix._exit(status)  # taking the interpreter apart costs 1 to 2 ms and frees what the kernel frees anyway
