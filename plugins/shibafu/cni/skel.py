"""The shell of every plugin: one process, one verb, one answer.

`run` is the seam of the whole suite: a plugin is a function of (environment, stdin, stdout), so
that it runs the same as a process, inside another plugin, and inside a test.
"""

from shibafu.cni import errors
from shibafu.cni.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from shibafu.cni.request import Request

    Verb = Callable[[Request], object]


class Plugin:
    """What the shell needs to know of a plugin.

    Args:
        name: how the plugin calls itself to a person who runs it by hand.
        verbs: ADD, CHECK, DEL, STATUS, GC and the functions that do them. Each returns the JSON
            value to print, or None to print nothing, and raises CniError or OSError. A plugin that
            has nothing to do for one of them leaves it out, and succeeds.
        supported: the versions of the specification that VERSION answers.
    """

    __slots__ = ("name", "supported", "verbs")

    def __init__(self, name: str, verbs: "Mapping[str, Verb]", supported: tuple[str, ...]) -> None:
        self.name = name
        self.verbs = verbs
        self.supported = supported


def run(plugin: Plugin, env: "Mapping[str, str]", stdin: "BinaryIO", stdout: "BinaryIO") -> int:
    """Do what the environment asks for and print the answer.

    Returns:
        The exit status: 0, or 1 after an error object was printed.
    """
    command = env.get("CNI_COMMAND", "")
    if command == "VERSION":
        _print_json(stdout, _answer_version(plugin, stdin))
        return 0
    if not command:
        _print_about(plugin)
        return 0
    # What the configuration's version is, as far as it could be read when an error occurs.
    cni_version = ""
    try:
        from shibafu.cni.config import parse_config
        from shibafu.cni.request import check_environment, parse_request

        document = stdin.read()
        try:
            config = parse_config(document)
            stated = config.get("cniVersion")
            cni_version = stated if isinstance(stated, str) else ""
        finally:
            # Of two errors the environment's is told, but with the version that the runtime understands.
            check_environment(env, command)
        request = parse_request(env, command, document, config)
        verb = plugin.verbs.get(command)
        result = verb(request) if verb is not None else None
    except CniError as error:
        _print_json(stdout, error.to_json(cni_version))
        return 1
    except OSError as error:
        _print_json(stdout, CniError(errors.IO_FAILURE, str(error)).to_json(cni_version))
        return 1
    except Exception as error:  # a defect here must still reach the runtime as an error object
        _print_json(stdout, _describe_defect(plugin, error).to_json(cni_version))
        return 1
    if result is not None:
        _print_json(stdout, result)
    return 0


def _answer_version(plugin: Plugin, stdin: "BinaryIO") -> dict[str, object]:
    """Echo the version that the runtime speaks; a person at a terminal sends none."""
    from shibafu.cni import version

    cni_version = version.LATEST
    if not stdin.isatty():
        from shibafu.cni.config import parse_config

        try:
            cni_version = parse_config(stdin.read()).text("cniVersion") or cni_version
        except CniError:
            pass  # some callers send nothing, and VERSION has to answer whatever they send
    return {"cniVersion": cni_version, "supportedVersions": list(plugin.supported)}


def _print_json(stdout: "BinaryIO", value: object) -> None:
    from shibafu.cni.jsontext import dumps

    # Surrogates stand for bytes of the environment that are not UTF-8; they must not break the answer.
    stdout.write(dumps(value).encode("utf-8", "backslashreplace") + b"\n")
    stdout.flush()


def _print_about(plugin: Plugin) -> None:
    import sys

    from shibafu import __version__

    sys.stderr.write(f"CNI {plugin.name} plugin version {__version__} (shibafu)\n")
    sys.stderr.write(f"CNI protocol versions supported: {', '.join(plugin.supported)}\n")


def _describe_defect(plugin: Plugin, error: Exception) -> CniError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
    return CniError(
        errors.INTERNAL,
        f"internal error in shibafu-{plugin.name}, please report it: {type(error).__name__}: {error}",
        where,
    )
