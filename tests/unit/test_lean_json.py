"""JSON, compared with the standard library's `json`."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.lean import json as lean_json
from shibafu.lean.json import dumps, dumps_lines, encode_lines, join_lines, loads, split_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# Text that is nearly JSON finds more than text that is not.
ALMOST = st.text('{}[]",:0123456789.eE+-truefalsn \\u\n\t', max_size=40)


@given(JSON)
def test_dumps_says_what_json_says(value: object) -> None:
    assert dumps(value) == json.dumps(value, indent=4, ensure_ascii=False)


@given(st.dictionaries(st.text(), JSON))
def test_each_key_has_a_line(fields: dict[str, object]) -> None:
    text = dumps_lines(fields)
    assert loads(text.encode()) == fields
    assert len(text.split("\n")) == max(3, len(fields) + 2)


@given(st.dictionaries(st.text(), JSON))
def test_a_line_is_that_of_its_key(fields: dict[str, object]) -> None:
    assert split_lines(dumps_lines(fields), fields) in ({}, encode_lines(fields))


def test_lines_that_were_written_are_found_again() -> None:
    fields: dict[str, object] = {"a": {"text": 'a "b": ,\n}'}, "b": [1, {"a": 2}], "c": None}
    text = dumps_lines(fields)
    lines = split_lines(text, fields)
    assert lines == encode_lines(fields)
    assert join_lines(lines.values()) == text


@pytest.mark.parametrize("keys", [["a"], ["b", "a"], ["a", "b", "c"]])
def test_lines_of_other_keys_are_not_taken(keys: list[str]) -> None:
    assert split_lines(dumps_lines({"a": 1, "b": 2}), keys) == {}


def test_lines_that_another_program_has_written_are_not_taken() -> None:
    assert split_lines('{"a": 1, "b": 2}', ["a", "b"]) == {}


@given(JSON, st.sampled_from([None, 1, 4]), st.booleans())
def test_loads_reads_what_json_writes(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    # \n and spaces around the document are part of JSON
    assert loads(f" \n{text}\r\t".encode()) == value


def _parse_float(text: str) -> float:
    return max(-sys.float_info.max, min(float(text), sys.float_info.max))


@given(st.one_of(ALMOST.map(str.encode), st.binary(max_size=40)))
def test_garbage_is_refused_or_read_as_json_reads_it(document: bytes) -> None:
    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        text = document.decode("utf-8", "replace")
        expected: object = json.loads(text, parse_constant=refuse, parse_float=_parse_float)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            loads(document)
    else:
        assert loads(document) == expected


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_constants_that_json_does_not_have(constant: bytes) -> None:
    with pytest.raises(ValueError, match="invalid character"):
        loads(b'{"a": ' + constant + b"}")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "unexpected end"),
        (b" \n", "unexpected end"),
        (b"{} x", "after top-level value"),
        (b"{} \x0c", "after top-level value"),
        (b"?", "offset 0"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b"\xff\xfe", "offset 0"),
        (b"\xef\xbb\xbf{}", "offset 0"),
    ],
)
def test_refusals_say_what_is_wrong(document: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loads(document)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_can_be_read_can_be_written(opening: bytes, closing: bytes) -> None:
    for depth in (199, 200):
        value = loads(opening * depth + b"1" + closing * depth)
        assert loads(dumps(value).encode()) == value
    for depth in (201, 400, 600, 950):
        with pytest.raises(ValueError, match="nested too deeply"):
            loads(opening * depth + b"1" + closing * depth)


def test_a_document_may_have_any_number_of_brackets() -> None:
    assert loads(b"[" + b"[[]]," * 10_000 + b"{}]") == [[[]]] * 10_000 + [{}]
    assert loads(b"[" + b'"]}[{",' * 10_000 + b"{}]") == ["]}[{"] * 10_000 + [{}]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":[', b'[{"a":'])
def test_depth_counts_beside_any_number_of_brackets(opening: bytes) -> None:
    closing = b"".join({b"[": b"]", b"{": b"}"}.get(opening[i : i + 1], b"") for i in range(len(opening)))[
        ::-1
    ]
    levels = len(closing)
    for depth in (198, 200, 202):
        document = (
            b"[" + b"[]," * 1000 + opening * (depth // levels) + b"1" + closing * (depth // levels) + b"]"
        )
        if depth < 200:
            assert isinstance(loads(document), list)
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                loads(document)


@pytest.mark.parametrize("number", [b"9" * 5000, b"1e400", b"-1e400", b"-" + b"9" * 5000])
def test_a_number_of_any_size_can_be_written_again(number: bytes) -> None:
    value = loads(b"[" + number + b"]")
    assert value == [-sys.float_info.max if number.startswith(b"-") else sys.float_info.max]
    assert loads(dumps(value).encode()) == value
    assert loads(dumps_lines({"a": value}).encode()) == {"a": value}


def test_a_long_number_is_exact() -> None:
    assert loads(b"123456789012345678901234567890") == 123456789012345678901234567890


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert loads(b'{"a": "b\xffc"}') == {"a": "b\ufffdc"}


def test_a_lone_surrogate_survives() -> None:
    value = loads(rb'"\ud83d"')
    assert json.loads(dumps(value).encode("utf-8", "backslashreplace")) == value


def test_what_has_no_json_form_is_a_defect() -> None:
    for write in (dumps, dumps_lines):
        with pytest.raises(TypeError, match="bytes"):
            write({"a": b"x"})


def test_the_public_module_is_the_fallback() -> None:
    # An interpreter without the accelerator is simulated by hiding it before the import.
    program = """
import sys
sys.modules["_json"] = None
sys.path.insert(0, sys.argv[1])
from shibafu.lean import json as lean_json
assert not lean_json.HAVE_ACCELERATOR
document = '{"a": [1, 2.5, "\\u00e9\\\\n", null, true], "b": {}}'
value = lean_json.loads(document.encode())
assert value == {"a": [1, 2.5, "\\u00e9\\n", None, True], "b": {}}, value
assert lean_json.loads(lean_json.dumps(value).encode()) == value
assert lean_json.loads(lean_json.dumps_lines(value).encode()) == value
for bad in (b"", b"{", b"{} x", b"\\xff"):
    try:
        lean_json.loads(bad)
    except ValueError:
        continue
    raise AssertionError(bad)
"""
    root = lean_json.__file__.rpartition("/shibafu/")[0]
    subprocess.run([sys.executable, "-I", "-c", program, root], check=True)
