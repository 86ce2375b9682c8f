"""Makes the bundle, the one file that has all modules of the executables; entry.py reads it.

A call is over in a few milliseconds, most of which it spends on making code objects out of bytes and on
running modules' bodies. So modules that are needed by the same calls are marshalled together, as one
object, in which each name is there once: a pack. What is in the file:

    4 bytes     the size of the index, little endian
    the index   marshalled: `modules`, the number of each module's pack; `packs`, where each begins after
                the index, its size, and the packs to load for it; `calls`, the packs to load at once when
                a module is imported for a verb; `extensions`, the files of modules in shared libraries
    the packs   marshalled: a module's name, whether it is a package, its code, the next module's name, ...

Packs are loaded, and run, in an order in which every module finds what it imports; so they are linked here.
"""

import ast
import marshal
import os


def is_package(source_path):
    """Tell a package from a module."""
    return os.path.basename(source_path) == "__init__.py"


def calc_file_name(name, source_path):
    """Return a module's file name below the folder that it is imported from; error messages show it."""
    return name.replace(".", "/") + ("/__init__.py" if is_package(source_path) else ".py")


class StripTypes(ast.NodeTransformer):
    """Removes what only type checkers read, and every call would evaluate: a tenth of the code."""

    def visit_arg(self, node):
        """Remove a parameter's type."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        """Remove the type of the result."""
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node):
        """Remove a variable's type."""
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value is not None else ast.Pass()

    def visit_If(self, node):
        """Remove what is imported for types."""
        self.generic_visit(node)
        test = node.test
        is_types_only = isinstance(test, ast.Name) and test.id == "TYPE_CHECKING" and not node.orelse
        return ast.Pass() if is_types_only else node


class LinkImports(ast.NodeTransformer):
    """Has names taken out of other modules' namespaces without `import`, which takes 2 us for a line.

    That is done where a module is run, after what it imports; so `from shibafu.cni.ip import Cidr` becomes

        __linked__ = __namespaces__["shibafu.cni.ip"]
        Cidr = __linked__["Cidr"]

    and `from errno import EEXIST`, of a module that may not have been imported yet,

        import errno as __linked__
        EEXIST = __linked__.EEXIST

    Left as they are: what is imported by a function, what may fail, and modules out of packages.

    Args:
        names: the modules of the bundle.
    """

    def __init__(self, names):
        self.names = names

    def visit_FunctionDef(self, node):
        """Leave functions alone."""
        return node

    def visit_Try(self, node):
        """Leave alone what may fail."""
        return node

    def visit_ImportFrom(self, node):
        """Link one line."""
        is_ours = node.module in self.names
        is_of_modules = any(f"{node.module}.{alias.name}" in self.names for alias in node.names)
        if node.names[0].name == "*" or is_of_modules or ("." in node.module and not is_ours):
            return node
        linked = ast.Name("__linked__", ast.Load())
        if is_ours:
            namespaces = ast.Name("__namespaces__", ast.Load())
            source = ast.Subscript(namespaces, ast.Constant(node.module), ast.Load())
            lines = [ast.Assign([ast.Name("__linked__", ast.Store())], source)]
        else:
            lines = [ast.Import([ast.alias(node.module, "__linked__")])]
        for alias in node.names:
            name = ast.Constant(alias.name)
            value = (
                ast.Subscript(linked, name, ast.Load())
                if is_ours
                else ast.Attribute(linked, alias.name, ast.Load())
            )
            lines.append(ast.Assign([ast.Name(alias.asname or alias.name, ast.Store())], value))
        return [ast.copy_location(line, node) for line in lines]


def compile_module(name, source_path, linked=()):
    """Return a module's code; optimised, it has neither docstrings, asserts nor annotations.

    Args:
        name: the module.
        source_path: its file.
        linked: the modules that run before it, if it imports them; see `LinkImports`.
    """
    with open(source_path, "rb") as source:
        tree = StripTypes().visit(ast.parse(source.read()))
    tree = (
        ast.fix_missing_locations(LinkImports(linked).visit(tree))
        if linked
        else ast.fix_missing_locations(tree)
    )
    return compile(tree, calc_file_name(name, source_path), "exec", dont_inherit=True, optimize=2)


def dump(value):
    """Marshal a value.

    Marshalled values also show which objects happened to be referenced twice when they were made. Read
    back, they show only their own structure: two builds give the same bytes.
    """
    return marshal.dumps(marshal.loads(marshal.dumps(value)))  # noqa: S302 - just made


def find_imports(name, sources):
    """Return the modules of the bundle that the module's own body imports, in order, parents first."""
    with open(sources[name], "rb") as source:
        tree = ast.parse(source.read())
    wanted = [name]
    for node in tree.body:
        for statement in node.body if isinstance(node, ast.Try) else [node]:
            if isinstance(statement, ast.Import):
                wanted += [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                wanted.append(statement.module)
                wanted += [f"{statement.module}.{alias.name}" for alias in statement.names]
    parts = [module.split(".") for module in wanted]
    parents = [".".join(part[: i + 1]) for part in parts for i in range(len(part))]
    return [parent for parent in dict.fromkeys(parents) if parent in sources and parent != name]


def calc_order(names, sources):
    """Return the modules `names` and all that they import, each behind those that it imports itself."""
    order = {}

    def visit(name):
        if name not in order:
            for needed in find_imports(name, sources):
                visit(needed)
            order[name] = None

    for name in names:
        visit(name)
    return list(order)


def calc_packs(stages, sources):
    """Share the modules out: those that are needed by the same calls are in one pack, others by themselves.

    Args:
        stages: groups of calls. Each call has the modules that it imports in the end, without those that
            these import. What a call of one group needs is not shared out again by calls of the next.
        sources: each module's source path.

    Returns:
        The packs, in an order in which each comes behind those that it needs.
    """
    packs = {}
    placed = set()
    for calls in stages:
        needs = {call: set(calc_order(names, sources)) for call, names in calls.items()}
        for name in calc_order([name for names in calls.values() for name in names], sources):
            if name not in placed:
                packs.setdefault(frozenset(call for call in needs if name in needs[call]), []).append(name)
                placed.add(name)
    # Whoever needs a module, needs those that it imports: they have as many callers, or more.
    ordered = []
    for calls in stages:
        of_stage = [callers for callers in packs if callers <= calls.keys()]
        ordered += [packs[callers] for callers in sorted(of_stage, key=len, reverse=True)]
    return ordered + [[name] for name in calc_order(sorted(sources), sources) if name not in placed]


def make_bundle(stages, sources, extensions):
    """Return the bundle's content.

    Args:
        stages: as for `calc_packs`; a call is named by what is imported first, a space, and the verb.
        sources: likewise.
        extensions: the file names of extension modules.
    """
    packs = calc_packs(stages, sources)
    modules = {name: number for number, names in enumerate(packs) for name in names}

    def calc_numbers(names):
        """Return the packs of modules and of all that they import. Of a pack, all modules are run."""
        numbers = set()
        while needed := {modules[name] for name in calc_order(names, sources)} - numbers:
            numbers |= needed
            names = [name for number in sorted(needed) for name in packs[number]]
        return tuple(sorted(numbers))

    code, places = b"", []
    for names in packs:
        content = [
            (name, is_package(sources[name]), compile_module(name, sources[name], sources)) for name in names
        ]
        pack = dump([item for module in content for item in module])
        places.append((len(code), len(pack), calc_numbers(names)))
        code += pack
    numbers = {call: calc_numbers(names) for calls in stages for call, names in calls.items()}
    head = dump((modules, places, numbers, extensions))
    return len(head).to_bytes(4, "little") + head + code
