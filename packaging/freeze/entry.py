"""What an executable runs first: has modules imported from the bundle, and calls the `main` of the plugin's.

An executable is a file of a few lines. The first has it run by the interpreter in the folder `_internal`:
isolated (no site, no PYTHON* variables), in UTF-8 whatever the locale, and with that folder as all there is
to import from.

`posix` does here what `os` does elsewhere: VERSION does without `os`, whose import would take a fifth of it.
"""

import gc
import posix
import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]  # `signal` pulls in enum
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any
else:
    ModuleType = type(sys)


class Module(ModuleType):
    """A module without a `__getattr__` of its own, as all are here.

    In Python 3.11, each `from module import name` makes two exceptions of the question whether a usual
    module is a package: 1.6 of the 50 million instructions of an ADD.
    """

    __getattribute__ = object.__getattribute__


class BundleImporter:
    """Finds and loads the modules of the bundle, which bundle.py makes and describes.

    It is reopened each time, because a program may close descriptors that it does not know, as
    daemons and forked children do.

    Args:
        path: the bundle.
        calls: what may be imported for. The first of these that the bundle has packs for is the one.
    """

    def __init__(self, path: str, *calls: str) -> None:
        self._path = path
        size = int.from_bytes(self._read(0, 4), "little")
        self._start = 4 + size
        packs, self._index = loads(self._read(4, size))  # noqa: S302 - our own
        # Where those are that have not been read: by package, the modules that the call imports from it.
        self._packs: dict[str, tuple[int, int]] = next((packs[call] for call in calls if call in packs), {})
        # What has been read and not run: whether it is a package, what it imports, and its code.
        self._ready: dict[str, tuple[bool, tuple[str, ...], CodeType] | None] = {}
        self._modules: dict[str, tuple[int, int]] = {}

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """Where each module of the bundle is, and its size."""
        if not self._modules:
            self._modules = self._load(*self._index)
        return self._modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a module for `import`; see importlib.abc.MetaPathFinder."""
        package = name.rpartition(".")[0]
        if package in self._packs:
            self._ready |= self._load(*self._packs.pop(package))
        if name not in self._ready:
            if name not in self.modules:
                return None
            self._ready[name] = self._load(*self.modules[name])
        found = self._ready[name]
        # A loader by its methods: the class importlib.abc.Loader would have to be imported.
        return found and ModuleSpec(name, self, is_package=found[0])  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> Module:
        """Make an empty module; see importlib.abc.Loader."""
        return Module(spec.name)

    def exec_module(self, module: "ModuleType") -> None:
        """Run a module, after those that it imports; see importlib.abc.Loader.

        For each of these `import` would take a lock, and ask all finders; in an ADD there are sixty.
        """
        _, imports, code = self._ready.pop(module.__name__)  # type: ignore[misc]  # just found
        for name in imports:
            if name not in sys.modules:
                self.load(name)
        exec(code, module.__dict__)  # noqa: S102 - what every loader does

    def load(self, name: str) -> None:
        """Import a module whose package has been imported."""
        module = sys.modules[name] = module_from_spec(self.find_spec(name))  # type: ignore[arg-type]  # it is there
        try:
            self.exec_module(module)
        except BaseException:
            # As importlib has it: a module that could not be run, for whatever reason, is not there.
            del sys.modules[name]
            raise
        package, _, child = name.rpartition(".")
        if package:
            setattr(sys.modules[package], child, module)

    def _load(self, offset: int, size: int) -> "Any":
        return loads(self._read(self._start + offset, size))  # noqa: S302 - our own

    def _read(self, offset: int, size: int) -> bytes:
        descriptor = posix.open(self._path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return posix.pread(descriptor, size, offset)
        finally:
            posix.close(descriptor)


def restore_locale() -> None:
    """Undo what the interpreter does to the environment in the C locale (PEP 538), for children's sake."""
    if posix.environ.get(b"LC_CTYPE") != b"C.UTF-8":
        return
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            given = file.read().split(b"\0")
    except OSError:
        given = []  # no /proc here: the variable is hardly the caller's
    before = [line for line in given if line.startswith(b"LC_CTYPE=")]
    if before:
        posix.environ[b"LC_CTYPE"] = before[0].partition(b"=")[2]
        posix.putenv(b"LC_CTYPE", posix.environ[b"LC_CTYPE"])
    else:
        del posix.environ[b"LC_CTYPE"]
        posix.unsetenv(b"LC_CTYPE")


def run(name: str) -> int:
    """Import the module `name` and return the exit status of its `main`."""
    try:
        return __import__(name, fromlist=["main"]).main() or 0
    except KeyboardInterrupt:
        # As the interpreter does, but for the traceback.
        signal(SIGINT, SIG_DFL)
        posix.kill(posix.getpid(), SIGINT)
        raise
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or 0
        raise


def run_program(name: str) -> None:
    """Run the `main` of the module `name`, and end the process.

    The module is not told by the name that the executable is called by, since that says nothing: plugins are
    called through links of any name.
    """
    gc.disable()  # a call ends before garbage matters
    internal = sys.path[0]
    if sys.argv[0].startswith(f"{internal}/cold/"):
        del sys.argv[0]  # started by the launcher, which says next what it was called by
    sys.frozen = True  # type: ignore[attr-defined]  # by convention of all that freeze Python programs
    verb = posix.environ.get(b"CNI_COMMAND", b"").decode(errors="replace")
    sys.meta_path.insert(0, BundleImporter(f"{internal}/shibafu.bundle", f"{name} {verb}", name))
    restore_locale()
    status = run(name)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # the caller may have closed it
                stream.flush()
        except OSError:
            status = status or 1
    posix._exit(status)  # taking the interpreter apart costs 1 to 2 ms and frees what the kernel frees anyway
