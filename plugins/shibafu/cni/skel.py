"""The shell of every plugin: one process, one verb, one answer.

`run` is the seam of the whole suite: a plugin is a function of (environment, stdin, stdout), so
that it runs the same as a process, inside another plugin, and inside a test.

`posix` does here what `os` does elsewhere: importing `os`, which creates two dozen abstract classes, would
take a fifth of VERSION.
"""

import posix
import sys

from shibafu.cni.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from shibafu.cni.request import Request

    Verb = Callable[[Request], object]
    Run = Callable[[Mapping[str, str], BinaryIO, BinaryIO], int]

# VERSION waits a tenth of a second for input that may still come.
_LOOKS = 20
_PAUSE = 0.005
_OPEN = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC


class Plugin:
    """What the shell needs to know about a plugin.

    Args:
        name: how the plugin calls itself to a person who runs it by hand.
        verbs: ADD, CHECK, DEL, STATUS, GC and the functions that do them. Each returns the JSON
            value to print, or None to print nothing, and raises CniError or OSError. A plugin that
            has nothing to do for one of them leaves it out, and succeeds.
        supported: the versions of the specification that VERSION answers, and that configurations may have.
    """

    __slots__ = ("name", "supported", "verbs")

    def __init__(self, name: str, verbs: "Mapping[str, Verb]", supported: tuple[str, ...]) -> None:
        self.name = name
        self.verbs = verbs
        self.supported = supported

    def run(self, env: "Mapping[str, str]", stdin: "BinaryIO", stdout: "BinaryIO") -> int:
        """Do one CNI call; see `run`."""
        return run(self, env, stdin, stdout)

    def main(self, env: "Mapping[str, str] | None" = None) -> None:
        """Do the call that this process was started for, and end it.

        Args:
            env: its environment, if that is not the interpreter's.
        """
        if env is None:
            # Decoded once, as `os.environ` does at each look; a call makes forty.
            given = posix.environ.items()
            env = {_decode(name): _decode(value) for name, value in given}
        sys.exit(run_process(self.run, env))


def run(plugin: Plugin, env: "Mapping[str, str]", stdin: "BinaryIO", stdout: "BinaryIO") -> int:
    """Do what the environment asks for and print the answer.

    Returns:
        The exit status: 0, or 1 after an error object was printed.

    Raises:
        OSError: the answer cannot be printed; an ADD is undone then.
    """
    command = env.get("CNI_COMMAND", "")
    if command == "VERSION":
        _print_json(stdout, _answer_version(plugin, stdin))
        return 0
    if not command:
        from shibafu.cni.failures import print_about

        print_about(plugin)
        return 0
    # What the configuration's version is, as far as it could be read when an error occurs.
    cni_version = ""
    try:
        from shibafu.cni.config import parse_config
        from shibafu.cni.request import check_environment, parse_request

        document = stdin.read() or b""  # None: nothing has come yet, and reading does not wait
        try:
            config = parse_config(document)
            stated = config.get("cniVersion")
            cni_version = stated if isinstance(stated, str) else ""
        finally:
            # Of two errors the environment's is told, but with the version that the runtime understands.
            check_environment(env, command)
        request = parse_request(env, command, document, config, plugin.supported)
        result = call(plugin, request)
    except CniError as error:
        _print_json(stdout, error.to_json(cni_version))
        return 1
    except OSError as error:
        from shibafu.cni.failures import describe_os_error

        _print_json(stdout, describe_os_error(f"do {command}", error).to_json(cni_version))
        return 1
    if result is not None:
        try:
            _print_json(stdout, result)
        except OSError:
            if command == "ADD":
                from shibafu.cni.failures import take_back

                take_back(plugin, request)
            raise
    return 0


def call(plugin: Plugin, request: "Request") -> object:
    """Do what a validated request asks for.

    Returns:
        The JSON value to print; None for nothing.

    Raises:
        CniError: the plugin's error, whatever went wrong.
    """
    verb = plugin.verbs.get(request.command)
    try:
        return verb(request) if verb is not None else None
    except CniError:
        raise
    except OSError as error:
        from shibafu.cni.failures import describe_os_error

        raise describe_os_error(f"do {request.command}", error) from error
    except Exception as error:  # a defect here must still reach the runtime as an error object
        from shibafu.cni.failures import describe_defect

        raise describe_defect(plugin, error) from error


def run_process(run: "Run", env: "Mapping[str, str]") -> int:
    """Do the call that this process was started for, and return the exit status.

    A caller may have closed any of the process's files, or given it some that cannot be written to.

    Args:
        run: the plugin.
        env: the process's environment.
    """
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        from shibafu.cni.failures import run_without_files

        return run_without_files(run, env)
    try:
        return run(env, sys.stdin.buffer, sys.stdout.buffer)
    except OSError as error:
        from shibafu.cni.failures import report_unprinted

        return report_unprinted(error, env)


def _answer_version(plugin: Plugin, stdin: "BinaryIO") -> dict[str, object]:
    """Echo the version that the runtime speaks; a person at a terminal sends none."""
    from shibafu.cni import version

    cni_version = version.LATEST
    if not stdin.isatty():
        from shibafu.cni.config import parse_config

        try:
            cni_version = parse_config(_read_available(stdin)).text("cniVersion") or cni_version
        except CniError:
            pass  # some callers send nothing, and VERSION has to answer whatever they send
    return {"cniVersion": cni_version, "supportedVersions": list(plugin.supported)}


def _decode(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _read_available(stdin: "BinaryIO") -> bytes:
    """Read what the caller sends; a caller that keeps it open without sending anything is not waited for."""
    try:
        # Opened again, so that not waiting affects nobody else who has the same pipe.
        descriptor = posix.open(f"/proc/self/fd/{stdin.fileno()}", _OPEN)
    except OSError:
        return stdin.read()  # a buffer in memory, or a socket
    content = b""
    for _ in range(_LOOKS):
        try:
            while piece := posix.read(descriptor, 65536):
                content += piece
            break
        except BlockingIOError:
            import time

            time.sleep(_PAUSE)
        except OSError:
            break  # what is there has to do
    posix.close(descriptor)
    return content


def _print_json(stdout: "BinaryIO", value: object) -> None:
    from shibafu.lean.json import dumps

    # Surrogates stand for bytes of the environment that are not UTF-8; they must not break the answer.
    stdout.write(dumps(value).encode("utf-8", "backslashreplace") + b"\n")
    stdout.flush()
