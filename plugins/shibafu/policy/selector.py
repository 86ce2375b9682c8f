"""Label selectors, as Kubernetes has them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
An ADD imports this module, to find which selectors take a container.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IN = "In"
NOT_IN = "NotIn"
EXISTS = "Exists"
DOES_NOT_EXIST = "DoesNotExist"
OPERATORS = (IN, NOT_IN, EXISTS, DOES_NOT_EXIST)


class Requirement:
    """One condition on the value of one label.

    Args:
        key: the label.
        operator: one of `OPERATORS`.
        values: what In and NotIn compare with; order and repetitions have no meaning.
    """

    __slots__ = ("identity", "key", "operator", "values")

    def __init__(self, key: str, operator: str, values: "Iterable[str]" = ()) -> None:
        self.key = key
        self.operator = operator
        self.values = tuple(sorted(set(values)))
        self.identity = (key, operator, self.values)

    def matches(self, labels: "Mapping[str, str]") -> bool:
        """Return whether labels satisfy the condition; NotIn is also satisfied if the key is absent."""
        value = labels.get(self.key)
        if self.operator == IN:
            return value in self.values
        if self.operator == NOT_IN:
            return value not in self.values
        return (value is not None) == (self.operator == EXISTS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Requirement) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == IN else '!='}{self.values[0]}"
        return f"{self.key} {'in' if self.operator == IN else 'notin'} ({','.join(self.values)})"


class Selector:
    """Conditions that all have to be satisfied; without any, everything is selected.

    Selectors with the same conditions are equal, in whatever order and form they were written.

    Args:
        requirements: the conditions.

    Attributes:
        requirements: each of them once, sorted.
    """

    __slots__ = ("requirements",)

    def __init__(self, requirements: "Iterable[Requirement]" = ()) -> None:
        self.requirements = tuple(sorted(set(requirements), key=lambda one: one.identity))

    def matches(self, labels: "Mapping[str, str]") -> bool:
        """Return whether labels satisfy all conditions."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def to_json(self) -> list[tuple[str, str, list[str]]]:
        """Return the conditions as JSON, the same for equal selectors."""
        return [(one.key, one.operator, list(one.values)) for one in self.requirements]

    @classmethod
    def from_json(cls, document: "Iterable[tuple[str, str, list[str]]]") -> "Selector":
        """Return the selector of what `to_json` returned."""
        return cls(Requirement(key, operator, values) for key, operator, values in document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements)) or "everything"

    def __repr__(self) -> str:
        return f"Selector({self})"
