"""Calling another plugin, as the specification's section 4 says; our own IPAM without a process of its own.

A plugin of the same installation is called through its `Plugin`: it gets the same request and answers the
same as if it were executed, only a process and the detour through text are saved.
"""

import os
import sys

from shibafu.cni.config import Section, parse_config
from shibafu.cni.errors import DELEGATE, INVALID_CONFIG, INVALID_ENVIRONMENT, TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.cni.skel import Plugin

# Tells a plugin of ours that it is a delegate of one of ours, and has none itself: a circle of programs that
# call each other under other names, or through scripts.
_CALLED_BY = "SHIBAFU_DELEGATE"
# Seconds that a delegate may take. The reference's dhcp asks its server for up to a minute and a quarter;
# twice this, for an ADD and the DEL that undoes it, is less than the 4 minutes that kubelet waits.
PATIENCE = 90.0
_NETCONF = "failed to load netconf: json: "
# Where plugins are as a rule: by the specification's examples, of Debian, and of Fedora.
_USUAL = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")


class Installation:
    """The programs that were installed together.

    Args:
        directory: where their executables are.
        programs: executable names, and what imports and returns the plugin that does the same inside this
            process.
        running: the executable of this process, which is not a delegate of itself.
    """

    __slots__ = ("directory", "programs", "running")

    def __init__(
        self, directory: str, programs: "Mapping[str, Callable[[], Plugin]]", running: str = ""
    ) -> None:
        self.directory = directory
        self.programs = programs
        self.running = running

    def find_own(self, path: str) -> "Plugin | None":
        """Return what to call instead of the executable `path`, if that is (a link to) one of this suite.

        Raises:
            CniError: it is the plugin that is running, which would call itself for ever.
        """
        found = os.stat(path)
        for name, load in self.programs.items():
            try:
                own = os.stat(f"{self.directory}/{name}")
            except OSError:
                continue
            if (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino):
                return load()
        try:
            running = os.stat(self.running)
        except OSError:
            return None
        if (running.st_dev, running.st_ino) == (found.st_dev, found.st_ino):
            raise _describe_circle(path.rpartition("/")[2])
        return None


def find_installation(programs: "Mapping[str, Callable[[], Plugin]]") -> Installation:
    """Return what was installed with this executable; a link to it, or a copy, may be anywhere.

    Args:
        programs: see `Installation`.
    """
    # The interpreter of the executables is in a folder next to them; see packaging/freeze/shibafu.spec.
    frozen = getattr(sys, "frozen", False)
    inside = os.path.dirname(sys.executable) if frozen else os.path.realpath(sys.argv[0])
    return Installation(os.path.dirname(inside), programs, sys.argv[0])


def find_plugin(plugin_type: str, cni_path: str, usual: tuple[str, ...] = _USUAL) -> str:
    """Return the path of a plugin's executable: the first regular file of that name in CNI_PATH.

    Args:
        plugin_type: as a configuration has it.
        cni_path: directories, separated by colons.
        usual: other directories, of which an error names the one that has it.

    Raises:
        CniError: the name is empty or a path, CNI_PATH is missing, or there is no such file.
    """
    if not plugin_type:
        raise CniError(INVALID_CONFIG, "no plugin name provided", 'add "type" to the "ipam" section')
    if "/" in plugin_type:
        raise CniError(
            INVALID_CONFIG,
            f"invalid plugin name: {plugin_type}",
            "the name of a plugin cannot contain directories",
        )
    if not cni_path:
        raise CniError(INVALID_ENVIRONMENT, "required env variables [CNI_PATH] missing")
    directories = cni_path.split(":")
    for directory in directories:
        candidate = f"{directory}/{plugin_type}"
        if directory and os.path.isfile(candidate):
            return candidate
    raise CniError(
        INVALID_CONFIG,
        f'failed to find plugin "{plugin_type}" in path [{" ".join(directories)}]',
        _advise(plugin_type, usual),
    )


def _advise(plugin_type: str, usual: tuple[str, ...]) -> str:
    """Return what to do about a plugin that is not in CNI_PATH."""
    elsewhere = next((directory for directory in usual if os.path.isfile(f"{directory}/{plugin_type}")), "")
    if elsewhere:
        return (
            f"it is in {elsewhere}: add this directory to CNI_PATH, or to --cni-path of the command shibafu"
        )
    return "install the plugin into one of these directories, add its own to CNI_PATH, or correct its name"


def find_own(plugin_type: str) -> str | None:
    """Return the path of a plugin of this suite that came with this program; None if there is none."""
    if not plugin_type.startswith("shibafu-") or "/" in plugin_type:
        return None
    if getattr(sys, "frozen", False):
        # The command is beside the plugins, the interpreter of these in a folder there.
        inside = os.path.dirname(os.path.realpath(sys.executable))
        directories = [inside, os.path.dirname(inside)]
    else:
        directories = [os.path.dirname(os.path.realpath(sys.argv[0]))]
    candidates = [f"{directory}/{plugin_type}" for directory in directories]
    return next(filter(os.path.isfile, candidates), None)


def delegate(
    request: "Request",
    plugin_type: str,
    command: str,
    installation: Installation,
    patience: float = PATIENCE,
) -> Section | None:
    """Call the plugin `plugin_type` with `command`, the same environment and the same configuration.

    Args:
        request: this plugin's call.
        plugin_type: the plugin.
        command: what it is to do.
        installation: whose programs are called as functions.
        patience: seconds after which another program is ended.

    Returns:
        What it answered; None when it answered nothing.

    Raises:
        CniError: it could not be called, or the error that it answered with.
    """
    path = find_plugin(plugin_type, request.env.get("CNI_PATH", ""))
    env = dict(request.env) | {"CNI_COMMAND": command}
    plugin = installation.find_own(path)
    if plugin is not None:
        from shibafu.cni.skel import call

        answer = call(plugin, request.of(command, env))
        return Section(answer, "Result") if isinstance(answer, dict) else None
    if _CALLED_BY in env:
        raise _describe_circle(plugin_type)
    status, output = _execute(path, env | {_CALLED_BY: plugin_type}, request.stdin, patience)
    if status:
        raise parse_failure(plugin_type, status, output)
    if not output.strip():
        return None
    try:
        return Section(parse_config(output).values, "Result")
    except CniError as error:
        raise CniError(
            DELEGATE, f'plugin "{plugin_type}" did not answer {command} with a JSON object', error.msg
        ) from None


def prepare_delegate(request: "Request", plugin_type: str, installation: Installation) -> None:
    """Do ahead what takes time before `delegate` calls one of our own: importing it."""
    try:
        installation.find_own(find_plugin(plugin_type, request.env.get("CNI_PATH", "")))
    except (CniError, OSError):
        pass  # `delegate` will say what is wrong


def _describe_circle(plugin_type: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        f'plugin "{plugin_type}" is the plugin that calls it',
        '"type" must be another one: an IPAM plugin such as shibafu-ipam in "ipam", a plugin such as '
        'shibafu-bridge in "delegate"',
    )


def _execute(path: str, env: "Mapping[str, str]", stdin: bytes, patience: float) -> tuple[int, bytes]:
    from shibafu.lean.subprocess import Child

    try:
        child = Child(path, [path], env, stdin, keep_stderr=False, has_session=True)
    except OSError as error:
        raise CniError(DELEGATE, f'cannot execute plugin "{path}": {error.strerror}') from None
    try:
        return child.wait_within(patience)
    except TimeoutError:
        raise describe_hanging(path.rpartition("/")[2], env.get("CNI_COMMAND", ""), patience) from None


def describe_hanging(plugin_type: str, command: str, patience: float) -> CniError:
    """Return the error for a plugin that did not answer within `patience` seconds, and was ended."""
    return CniError(
        TRY_AGAIN_LATER,
        f'plugin "{plugin_type}" did not answer {command} within {patience:g} seconds and was terminated',
        "check its log, and whether the service it depends on (a DHCP server, a database) responds",
    )


def parse_failure(plugin_type: str, status: int, output: bytes) -> CniError:
    """Return the error that a plugin answered with, as it is.

    Args:
        plugin_type: the plugin, as errors of ours call it.
        status: its exit status, negative for the signal that ended it.
        output: what it printed.
    """
    try:
        answer = parse_config(output)
        code = answer.number("code")
        message = answer.text("msg")
    except CniError:
        code, message = None, ""
    if code is None or not message:
        how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
        said = output.decode("utf-8", "replace")
        return CniError(DELEGATE, f'plugin "{plugin_type}" {how} without an error object', said)
    details = answer.get("details") or ""
    if not isinstance(details, str):
        from shibafu.lean.json import dumps

        details = dumps(details)
    return CniError(code, message, details)


def parse_answer(plugin_type: str, answer: Section | None) -> "Result":
    """Return the result that a plugin has answered ADD with.

    Raises:
        CniError: it is none.
    """
    from shibafu.cni.result import Result, parse_result

    try:
        return parse_result(answer) if answer is not None else Result()
    except CniError as error:
        wrong = error.msg.removeprefix(_NETCONF)
        raise CniError(
            DELEGATE, f'plugin "{plugin_type}" answered ADD with something that is not a result', wrong
        ) from None
