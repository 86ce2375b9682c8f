"""Reading a network configuration: typed access to JSON objects with case-insensitive keys.

The reference plugins are written in Go, whose JSON decoder ignores the case of keys, and runtimes
rely on it (containerd's CRI sends `"HostPort"`). Refusals keep the wording of that decoder, which
people search for; `details` says what to change.
"""

from shibafu.cni.errors import DECODING_FAILURE, INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    # The attribute that a key becomes, the key, and what reads it.
    Key = tuple[str, str, Callable[["Section", str], object]]
    Keys = Mapping[str, Key]

_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
_DNS_KEYS = ("nameservers", "domain", "search", "options")
_EXPECTED = {
    "string": "a string",
    "bool": "true or false",
    "int": "a whole number",
    "uint": "a non-negative whole number",
    "object": "an object",
    "array": "an array",
    "map[string]string": "an object whose values are strings",
}


class Section:
    """One JSON object of a configuration.

    A key that is absent or null has the default of its type, as in the reference.

    Args:
        values: the object.
        name: how refusals call the object, such as `NetConf` or `NetConf.ipam`.
    """

    __slots__ = ("_folded", "name", "values")

    def __init__(self, values: dict[str, object], name: str) -> None:
        self.values = values
        self.name = name
        self._folded: dict[str, object] | None = None

    def get(self, key: str) -> object:
        """Return the raw value of `key` in any spelling of its case; None when absent."""
        if key in self.values:
            return self.values[key]
        if self._folded is None:
            self._folded = {k.lower(): v for k, v in self.values.items()}
        return self._folded.get(key.lower())

    def read(self, keys: "Keys") -> "Iterator[tuple[str, object]]":
        """Yield the attribute and the value of each of some keys that is set.

        Objects have few of the keys that they may have: to ask for each takes several times as long.

        Args:
            keys: see `fold_keys`.

        Raises:
            CniError: what the keys' readers raise.
        """
        for stated in self.values:
            known = keys.get(stated.lower())
            if known is not None:
                attribute, key, read = known
                yield attribute, read(self, key)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """Return a string."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong_type(key, value, "string")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong_type(key, value, "bool")
        return value

    def number(self, key: str) -> int | None:
        """Return a whole number, None when absent."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong_type(key, value, "int")
        return value

    def unsigned(self, key: str, bits: int = 32) -> int | None:
        """Return a whole number from 0 to 2**bits - 1, None when absent."""
        value = self.number(key)
        if value is not None and not 0 <= value < 1 << bits:
            raise self.wrong_type(key, value, "uint")
        return value

    def section(self, key: str) -> "Section":
        """Return an object; an empty one when absent."""
        value = self.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.wrong_type(key, value, "object")
        return Section(value, f"{self.name}.{key}")

    def array(self, key: str) -> list[object]:
        """Return an array of anything; an empty one when absent."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong_type(key, value, "array")
        return value

    def texts(self, key: str) -> list[str]:
        """Return an array of strings; an empty one when absent. What is null in it is empty."""
        texts = []
        for value in self.array(key):
            if value is not None and not isinstance(value, str):
                raise self.wrong_type(key, value, "string")
            texts.append(value or "")
        return texts

    def sections(self, key: str) -> list["Section"]:
        """Return an array of objects; an empty one when absent. What is null in it is empty."""
        return [self.item(key, {} if value is None else value) for value in self.array(key)]

    def item(self, key: str, value: object) -> "Section":
        """Return `value`, an item of the array `key`, as an object."""
        if not isinstance(value, dict):
            raise self.wrong_type(key, value, "object")
        return Section(value, f"{self.name}.{key}")

    def wrong_type(self, key: str, value: object, wanted: str) -> CniError:
        """Return the refusal of a value that is not of the wanted type."""
        got = _JSON_NAMES.get(type(value), "null")
        if got == "number" and wanted in ("int", "uint"):
            got = f"number {value}"
        return CniError(
            INVALID_CONFIG,
            f"failed to load netconf: json: cannot unmarshal {got} into Go struct field "
            f"{self.name}.{key} of type {wanted}",
            f'change "{key}" to {_EXPECTED[wanted]}',
        )


def fold_keys(*keys: "Key") -> "Keys":
    """Return keys as `Section.read` takes them.

    Args:
        keys: of each the attribute that it becomes, its name, and a function of a section and that name.
    """
    return {key.lower(): (attribute, key, read) for attribute, key, read in keys}


def parse_config(stdin: bytes) -> Section:
    """Parse the network configuration that the runtime sends.

    Raises:
        CniError: DECODING_FAILURE when it is not a JSON object.
    """
    from shibafu.lean.json import MAX_DEPTH_SENT, loads

    try:
        document = loads(stdin, MAX_DEPTH_SENT)
        if not isinstance(document, dict):
            raise ValueError(f"cannot unmarshal {_JSON_NAMES.get(type(document), 'null')} into an object")
    except ValueError as error:
        raise CniError(
            DECODING_FAILURE,
            f"error unmarshall network config: {error}",
            "the network configuration on standard input must be one JSON object",
        ) from None
    return Section(document, "NetConf")


def parse_dns(section: Section) -> dict[str, object]:
    """Return the DNS settings of a configuration or result without the empty ones."""
    dns: dict[str, object] = {
        key: section.text(key) if key == "domain" else section.texts(key) for key in _DNS_KEYS
    }
    return {key: value for key, value in dns.items() if value}


def parse_valid_attachments(config: Section) -> list[tuple[str, str]] | None:
    """Return (container ID, interface name) of each attachment that the runtime still knows, given to GC.

    Returns:
        None when the key is absent: the runtime has not said which are valid, so nothing may be
        freed. An empty list says that none is.
    """
    if "cni.dev/valid-attachments" not in config:
        return None
    return [
        (item.text("containerID"), item.text("ifname"))
        for item in config.sections("cni.dev/valid-attachments")
    ]
