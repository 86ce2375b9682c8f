"""What the executables have for `encodings` does what the real package does with UTF-8."""

import codecs
import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dist.conftest import ROOT

SOURCE = ROOT / "packaging" / "freeze" / "lean_encodings.py"
HANDLERS = ["strict", "ignore", "replace", "surrogateescape", "backslashreplace"]
TEXTS = ["", "ascii", "ümläut", "日本 語", "\U0001f415 柴犬", "a\udce4b", "\0\r\n"]
BYTES = [text.encode("utf-8", "surrogateescape") for text in TEXTS] + [
    b"\xe6\x97",
    b"a\xff\xfeb",
    b"\xf0\x9f\x90 x",
]


@pytest.fixture(scope="module")
def lean() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("lean_encodings", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    codecs.unregister(module.search)


def outcome(function: object, *arguments: object) -> object:
    """Return what a function does, be it an exception."""
    try:
        return function(*arguments)  # type: ignore[operator]
    except UnicodeError as error:
        return type(error), error.args


@pytest.mark.parametrize("errors", HANDLERS)
@pytest.mark.parametrize("content", BYTES)
def test_decoder(lean: ModuleType, content: bytes, errors: str) -> None:
    """Byte by byte, and going on from each state."""
    decoder = lean.search("utf-8").incrementaldecoder(errors)
    real = codecs.getincrementaldecoder("utf-8")(errors)
    for position in range(len(content) + 1):
        piece, final = content[position : position + 1], position == len(content)
        assert outcome(decoder.decode, piece, final) == outcome(real.decode, piece, final)
        assert decoder.getstate() == real.getstate()
        decoder.setstate(real.getstate())
    decoder.reset()
    assert decoder.getstate() == (b"", 0)
    assert outcome(lean.search("utf-8")[1], content, errors) == outcome(
        codecs.lookup("utf-8")[1], content, errors
    )


@pytest.mark.parametrize("errors", HANDLERS)
@pytest.mark.parametrize("text", TEXTS)
def test_encoder(lean: ModuleType, text: str, errors: str) -> None:
    encoder = lean.search("utf-8").incrementalencoder(errors)
    real = codecs.getincrementalencoder("utf-8")(errors)
    assert outcome(encoder.encode, text) == outcome(real.encode, text)
    encoder.setstate(encoder.getstate())
    encoder.reset()
    assert encoder.getstate() == real.getstate()


@pytest.mark.parametrize("name", ["utf-8", "utf8", "utf_8"])
def test_names(lean: ModuleType, name: str) -> None:
    assert lean.search(name).name == codecs.lookup(name).name
    assert lean.search("latin-1") is None


def test_text_after_what_is_there(built: Path, tmp_path: Path) -> None:
    """The streams are told to go on in the middle of a file."""
    path = tmp_path / "said"
    path.write_text("前\n", encoding="utf-8")
    with path.open("a") as file:
        subprocess.run([built / "shibafu-bridge"], env={}, stdout=file, stderr=file, check=True, timeout=60)
    assert path.read_text(encoding="utf-8").startswith("前\nCNI bridge plugin version ")
