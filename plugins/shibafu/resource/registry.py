"""The plans of plugins, by the names that chains use, for code that inspects and repairs what they made.

A plan is a function of a call of the plugin, the result of its chain and a view of the host that includes the
container's. It returns the resources that the plugin has made for the container.
"""

import os

from shibafu.cni.delegate import find_plugin
from shibafu.cni.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.view import View

    Plan = Callable[[Request, Result, View], list[Resource]]


class Registry:
    """The plans of some plugins.

    Args:
        plans: each by the names of its executable: its own, and that of the reference's plugin, which does
            the same with the same configuration.
    """

    __slots__ = ("_names", "_plans")

    def __init__(self, plans: "Mapping[tuple[str, ...], Plan]") -> None:
        self._names = {name: names[0] for names in plans for name in names}
        self._plans = {names[0]: plan for names, plan in plans.items()}

    def identify(self, plugin_type: str, cni_path: str) -> str:
        """Return the first name of a plugin; empty for an unknown one.

        Args:
            plugin_type: its type in the chain: the name of its executable, or of a link to it.
            cni_path: the directories of executables, separated by colons.
        """
        name = self._names.get(plugin_type)
        if name is not None:
            return name
        try:
            executable = os.path.realpath(find_plugin(plugin_type, cni_path))
        except CniError:
            return ""
        return self._names.get(os.path.basename(executable), "")

    def find(self, plugin_type: str, cni_path: str) -> "Plan | None":
        """Return the plan of a plugin; None for an unknown one. See `identify`."""
        return self._plans.get(self.identify(plugin_type, cni_path))
