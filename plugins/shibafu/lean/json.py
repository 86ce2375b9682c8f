"""JSON in and out, without the import of `json`.

`import json` pulls in re, enum, functools and collections and costs 10 ms, as much as the
interpreter itself. Its C parts in `_json` do the same work for 1 ms. They are private to CPython,
so everything that knows them is in this module, with the public module as the fallback.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

try:
    from _json import encode_basestring, make_encoder, make_scanner

    HAVE_ACCELERATOR = True
except ImportError:
    HAVE_ACCELERATOR = False


# More digits than any number of a configuration has; int() refuses more than a few thousand.
_MAX_DIGITS = 100
_MAX_FLOAT = 1.7976931348623157e308


def _parse_int(digits: str) -> int | float:
    """Read a whole number; one that is beyond all measure becomes the largest there is."""
    return int(digits) if len(digits) <= _MAX_DIGITS else _parse_float(digits)


def _parse_float(text: str) -> float:
    """Read a number; JSON has none that is infinite, so that it could not be written again."""
    return max(-_MAX_FLOAT, min(float(text), _MAX_FLOAT))


class _ScannerSettings:
    """What `_json.make_scanner` wants to know; the attribute names are those of `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook: "Callable[[list[tuple[str, object]]], object] | None" = None
    parse_float = staticmethod(_parse_float)
    # Called by the accelerator itself: a function of ours takes three times as long as all the rest.
    parse_int: "Callable[[str], int | float]" = int

    @staticmethod
    def parse_constant(name: str) -> object:
        """Refuse NaN and Infinity, which JSON does not have."""
        raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


class _PairsSettings(_ScannerSettings):
    object_pairs_hook = tuple


class _LongSettings(_ScannerSettings):
    parse_int = staticmethod(_parse_int)


class _LongPairsSettings(_PairsSettings):
    parse_int = staticmethod(_parse_int)


# For documents with a number that int() refuses.
_FOR_LONG_NUMBERS = {_ScannerSettings: _LongSettings, _PairsSettings: _LongPairsSettings}


_WHITESPACE = " \t\n\r"
# More levels than any configuration has, and fewer than what walks through values level by level can take.
_MAX_DEPTH = 200
# What is sent to a plugin may be put into a record or a list of plugins, and must be readable there.
MAX_DEPTH_SENT = 190


def loads(text: bytes, max_depth: int = _MAX_DEPTH) -> object:
    """Parse one JSON document; bytes that are not UTF-8 become U+FFFD, as in the reference.

    Args:
        text: the document.
        max_depth: how many levels of arrays and objects it may have.

    Raises:
        ValueError: not JSON, nested too deeply, or something follows the document.
    """
    document = text.decode("utf-8", "replace")
    value = _parse(document)
    # As many brackets as that have few documents, and only they have to be looked through.
    many = document.count("[") + document.count("{") > max_depth
    if many and not _is_flat(text, max_depth) and _is_deep(value, max_depth):
        raise ValueError("nested too deeply")
    return value


def loads_pairs(text: bytes) -> object:
    """Parse one JSON document so that keys can be seen that an object states twice.

    Objects are tuples of keys and values, in their order.

    Raises:
        ValueError: not JSON, or something follows the document.
    """
    return _parse(text.decode("utf-8", "replace"), _PairsSettings)


def _parse(document: str, settings: type[_ScannerSettings] = _ScannerSettings) -> object:
    if not HAVE_ACCELERATOR:
        import json

        hook = settings.object_pairs_hook
        return json.loads(document, parse_int=_parse_int, parse_float=_parse_float, object_pairs_hook=hook)
    stripped = document.lstrip(_WHITESPACE)
    if not stripped:
        raise ValueError("unexpected end of JSON input")
    start = len(document) - len(stripped)
    try:
        # typeshed has the class as if it were called with itself
        value, end = make_scanner(settings)(document, start)  # type: ignore[arg-type]
    except StopIteration as stop:
        raise ValueError(f"invalid character at offset {stop.value}") from None
    except (ImportError, SystemError):
        # What is wrong, _json tells by an exception of json.decoder, which the executables do not carry
        # (ImportError) and nobody has imported (SystemError, up to CPython 3.12).
        raise ValueError("invalid JSON: a quote, comma, colon or bracket is missing or too many") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        if settings not in _FOR_LONG_NUMBERS:
            raise
        return _parse(document, _FOR_LONG_NUMBERS[settings])
    if document[end:].strip(_WHITESPACE):
        raise ValueError(f"invalid character {document[end:].lstrip(_WHITESPACE)[0]!r} after top-level value")
    return value


def _is_flat(text: bytes, max_depth: int) -> bool:
    """Return whether a document's brackets alone show that it is not nested too deeply."""
    brackets = text.translate(None, bytes(code for code in range(256) if code not in b"[]{}"))
    # Each time, one level of pairs goes, or two.
    for _ in range(max_depth // 2):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets


def _is_deep(value: object, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        arrays = [item for item in level if isinstance(item, list)]
        arrays += [list(item.values()) for item in level if isinstance(item, dict)]
        level = [item for array in arrays for item in array]
        if not level:
            return False
    return True


def _quote() -> "Callable[[str], str]":
    if HAVE_ACCELERATOR:
        return encode_basestring
    from json.encoder import py_encode_basestring

    return py_encode_basestring


def dumps(value: object) -> str:
    """Return `value` (dicts, lists, strings, numbers, booleans, None) as JSON, indented by four spaces."""
    pieces: list[str] = []
    _write(value, "\n", pieces.append, _quote())
    return "".join(pieces)


def dumps_lines(fields: dict[str, object]) -> str:
    """Return an object as JSON, each of its keys on a line of its own, however long its value is."""
    return join_lines(encode_lines(fields).values())


def encode_lines(fields: dict[str, object]) -> dict[str, str]:
    """Return the lines of `dumps_lines`, by their keys, for `join_lines`."""
    encode = _open_encoder()
    return {
        key: f"    {''.join(encode(key, 0))}: {''.join(encode(value, 0))}" for key, value in fields.items()
    }


def join_lines(lines: "Iterable[str]") -> str:
    """Return the object that consists of lines of `encode_lines`."""
    return "{\n" + ",\n".join(lines) + "\n}"


def split_lines(text: str, keys: "Collection[str]") -> dict[str, str]:
    """Return the lines of an object that `join_lines` made; nothing if it was written another way.

    Args:
        text: the object.
        keys: its keys, in their order.
    """
    lines = text.removeprefix("{\n").removesuffix("\n}").split(",\n")
    is_ours = len(lines) == len(keys) and all(map(str.startswith, lines, (f'    "{key}": ' for key in keys)))
    return dict(zip(keys, lines, strict=True)) if is_ours else {}


def _open_encoder() -> "Callable[[object, int], tuple[str, ...]]":
    if not HAVE_ACCELERATOR:
        import json

        return lambda value, _: (json.dumps(value, ensure_ascii=False),)
    return make_encoder(None, _refuse, encode_basestring, None, ": ", ", ", False, False, True)


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write(
    value: object, newline: str, emit: "Callable[[str], object]", quote: "Callable[[str], str]"
) -> None:
    if isinstance(value, str):
        emit(quote(value))
    elif value is None or value is True or value is False:
        emit("null" if value is None else "true" if value else "false")
    elif isinstance(value, int | float):
        emit(repr(value))
    elif isinstance(value, dict):
        _write_all("{}", [(quote(key) + ": ", item) for key, item in value.items()], newline, emit, quote)
    elif isinstance(value, list | tuple):
        _write_all("[]", [("", item) for item in value], newline, emit, quote)
    else:
        _refuse(value)


def _write_all(
    brackets: str,
    items: list[tuple[str, object]],
    newline: str,
    emit: "Callable[[str], object]",
    quote: "Callable[[str], str]",
) -> None:
    if not items:
        emit(brackets)
        return
    inner = newline + "    "
    emit(brackets[0])
    separator = inner
    for prefix, item in items:
        emit(separator + prefix)
        _write(item, inner, emit, quote)
        separator = "," + inner
    emit(newline + brackets[1])
