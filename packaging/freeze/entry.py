"""What an executable runs first: imports the plugin's modules, in place of importlib, and calls its `main`.

An executable is a file of a few lines. The first has it run by the interpreter in the folder `_internal`:
isolated (no site, no PYTHON* variables), in UTF-8 whatever the locale, and with that folder as all there is
to import from.

`posix` does here what `os` does elsewhere, because the import of `os` costs 0.8 ms, a tenth of the start.
"""

import gc
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
else:
    ModuleType = type(sys)


class BundleImporter:
    """Finds and loads the modules of the bundle, which bundle.py makes and describes.

    It is opened anew each time, because a program may close descriptors that it does not know, as
    daemons and forked children do.

    Args:
        internal: the folder that has the bundle and extension modules.
        verb: what is called; as far as that is known it tells what will be imported.
    """

    def __init__(self, internal: str, verb: str) -> None:
        self.internal = internal
        self.verb = verb
        self.path = f"{internal}/shibafu.bundle"
        self.loaded: set[int] = set()
        # By module; their code, linked by bundle.py, knows it as `__namespaces__`.
        self.namespaces: dict[str, dict[str, object]] = {}
        self.modules: dict[str, int]
        self.packs: list[tuple[int, int, tuple[int, ...]]]
        self.calls: dict[str, tuple[int, ...]]
        self.extensions: dict[str, str]
        descriptor = posix.open(self.path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            size = int.from_bytes(posix.pread(descriptor, 4, 0), "little")
            self.modules, self.packs, self.calls, self.extensions = loads(posix.pread(descriptor, size, 4))  # noqa: S302 - our own
        finally:
            posix.close(descriptor)
        self.start = 4 + size

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a module for `import`; see importlib.abc.MetaPathFinder."""
        if name in self.modules:
            self.load(name)
            # A loader by its methods: the class importlib.abc.Loader would have to be imported.
            return ModuleSpec(name, self)  # type: ignore[arg-type]
        if name in self.extensions:
            file = f"{self.internal}/{self.extensions[name]}"
            return ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)
        return None

    def load(self, name: str) -> None:
        """Run a module, and before it all that it imports; with it, what the verb imports after it."""
        wanted = self.calls.get(f"{name} {self.verb}") or self.packs[self.modules[name]][2]
        descriptor = posix.open(self.path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            for number in wanted:
                if number not in self.loaded:
                    offset, size, _ = self.packs[number]
                    content = posix.pread(descriptor, size, self.start + offset)
                    self.loaded.add(number)
                    self.run_pack(content)
        finally:
            posix.close(descriptor)

    def run_pack(self, content: bytes) -> None:
        """Import the modules of a pack, which find in `namespaces` what they import of each other.

        importlib takes 20 us for each module, and 2 us for each line of imports.
        """
        modules = sys.modules
        pack = iter(loads(content))  # noqa: S302 - our own
        for name in pack:
            module = modules[name] = ModuleType(name)
            package, _, child = name.rpartition(".")
            module.__package__ = package
            if next(pack):
                module.__path__ = []
                module.__package__ = name
            namespace = self.namespaces[name] = module.__dict__
            namespace["__namespaces__"] = self.namespaces
            exec(next(pack), namespace)  # noqa: S102 - what every loader does
            if package:
                setattr(modules[package], child, module)

    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        """Return the module, which was run when it was found; see importlib.abc.Loader."""
        return sys.modules[spec.name]

    def exec_module(self, module: "ModuleType") -> None:
        """Do nothing more; see importlib.abc.Loader."""


def restore_locale() -> None:
    """Undo what the interpreter does to the environment in the C locale (PEP 538), for children's sake."""
    if posix.environ.get(b"LC_CTYPE") != b"C.UTF-8":
        return
    # os.environ is made of posix.environ when `os` is imported.
    given = b""
    try:
        descriptor = posix.open("/proc/self/environ", posix.O_RDONLY | posix.O_CLOEXEC)
        while part := posix.read(descriptor, 65536):
            given += part
        posix.close(descriptor)
    except OSError:
        pass  # no /proc here: the variable is hardly the caller's
    before = [line for line in given.split(b"\0") if line.startswith(b"LC_CTYPE=")]
    if before:
        posix.environ[b"LC_CTYPE"] = before[0].partition(b"=")[2]
        posix.putenv(b"LC_CTYPE", posix.environ[b"LC_CTYPE"])
    else:
        del posix.environ[b"LC_CTYPE"]
        posix.unsetenv(b"LC_CTYPE")


def run(importer: BundleImporter, name: str) -> int:
    """Import the module `name` and return the exit status of its `main`."""
    importer.load(name.rpartition(".")[0])
    module = __import__(name, fromlist=["main"])
    try:
        return module.main() or 0
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
    internal = sys.path.pop()  # from here on, nothing but what the importer knows
    if sys.argv[0].startswith(f"{internal}/cold/"):
        del sys.argv[0]  # started by the launcher, which says next what it was called by
    sys.frozen = True  # type: ignore[attr-defined]  # by convention of all that freeze Python programs
    importer = BundleImporter(internal, posix.environ.get(b"CNI_COMMAND", b"").decode("ascii", "replace"))
    sys.meta_path.insert(0, importer)
    restore_locale()
    status = run(importer, name)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # the caller may have closed it
                stream.flush()
        except OSError:
            status = status or 1
    posix._exit(status)  # taking the interpreter apart costs 1 to 2 ms and frees what the kernel frees anyway
