"""What a line of the table says: a configuration, what is there before, and which calls are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# A value that must not be there, in a documented expectation.
ABSENT = "(absent)"


@dataclass(frozen=True)
class Shell:
    """A command line that prepares or damages something.

    Args:
        namespace: `host`, or the container's name.
        line: for sh(1).
    """

    namespace: str
    line: str


@dataclass(frozen=True)
class Call:
    """One call of the plugin.

    Args:
        verb: CNI_COMMAND.
        container: CNI_CONTAINERID, and the name of the network namespace.
        ifname: CNI_IFNAME.
        config: changes of the case's configuration; None takes a key away.
        env: changes of the environment; None takes a variable away.
        stdin: what is sent in place of the configuration; U+DC80 to U+DCFF are the bytes 80 to FF.
        before: what happens before.
        prev_result: whether the answer of the attachment's ADD is sent along, as a runtime does.
        instead: the verb that a reference is called with that is too old for this one: what should
            have the same effect.
    """

    verb: str
    container: str = "c1"
    ifname: str = "eth0"
    config: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str | None] = field(default_factory=dict)
    stdin: str | None = None
    before: tuple[Shell, ...] = ()
    prev_result: bool = True
    instead: str = ""


# What a runtime does in a container's life; the second DEL is what runtimes really send.
LIFE = (Call("ADD"), Call("CHECK"), Call("DEL"), Call("DEL"))
# What is left to see of a configuration that is refused.
REFUSED = (Call("ADD"), Call("DEL"))


@dataclass(frozen=True)
class Case:
    """A configuration and the calls that are made with it.

    Args:
        name: what the test is called.
        config: the network configuration, without `type`; `cniVersion` and `name` have defaults.
        plugin: the executable.
        calls: in their order.
        env: changes of every call's environment; None takes a variable away.
        setup: what happens before the first call, in both suites' namespaces.
        reference: how the configuration is changed for the reference, which is too old to know a key of it
            or fails with it.
        documented: fields of the reference's outcome that are to be otherwise.
        despite: the name of the difference because of which the reference's configuration is another,
            where age is not the reason.
    """

    name: str
    config: Mapping[str, object]
    plugin: str = "bridge"
    calls: tuple[Call, ...] = LIFE
    env: Mapping[str, str | None] = field(default_factory=dict)
    setup: tuple[Shell, ...] = ()
    reference: Mapping[str, object] | None = None
    documented: Mapping[str, str] = field(default_factory=dict)
    despite: str = ""
