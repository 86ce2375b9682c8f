"""Regular expressions of the allowlist, beside those of Python's own."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.tuning.pattern import is_match

_LETTERS = "abz_.-/1 "
_ATOMS = st.sampled_from(
    [
        *("a", "b", "z", "_", "1", "/", "-", r"\.", ".", "^", "$", r"\d", r"\W", r"\s", r"\b", r"\B", r"\A"),
        *(
            "[a-z_]",
            "[^a]",
            r"[\d.]",
            "[]a]",
            "[a-]",
            r"[^\w-]",
            r"[\--/]",
            r"\x61",
            r"\/",
            "x{",
            "{",
            "a{,2}",
        ),
    ]
)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.sampled_from(["({})", "(?:{})", "(?P<name>{})"])
    counts = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,3}?"])
    repeated = st.builds(lambda part, count: f"(?:{part}){count}", inner, counts)
    grouped = st.builds(lambda group, part: group.format(part.replace("?P<name>", "")), groups, inner)
    either = st.builds(lambda one, other: f"{one}|{other}", inner, inner)
    return repeated | grouped | either | st.lists(inner, max_size=3).map("".join)


_EXPRESSIONS = st.recursive(_ATOMS, _extend, max_leaves=8).map(lambda text: text.replace("?P<name>", ""))


@given(_EXPRESSIONS, st.text(_LETTERS, min_size=1, max_size=8))
def test_it_matches_what_pythons_do(expression: str, text: str) -> None:
    # Python takes the first count of {,2} for 0; Go takes it for text, as the atoms above have it.
    as_python = expression.replace("a{,2}", r"a\{,2}")
    assert is_match(expression, text) is (re.search(as_python, text) is not None)


@pytest.mark.parametrize(
    ("expression", "text", "wanted"),
    [
        (r"^net\.ipv4\.conf\.IFNAME\.[a-z_]*$", "net.ipv4.conf.IFNAME.log_martians", True),
        (r"^net\.ipv4\.conf\.IFNAME\.[a-z_]*$", "net.ipv4.conf.all.log_martians", False),
        ("ipv4", "net.ipv4.ip_forward", True),
        ("", "net", True),
        ("^[[:alpha:].]+$", "net.core", True),
        ("^[[:^digit:]]+$", "net4", False),
        (r"net\z", "net", True),
        (r"(?<name>n)et", "net", True),
        ("^net$", "net\n", False),
        ("(a*)*$", "a" * 2000 + "b", True),
    ],
)
def test_gos_own(expression: str, text: str, wanted: bool) -> None:
    assert is_match(expression, text) is wanted


_MALFORMED = [
    ("a[", "missing closing ]: `[`"),
    ("[]", "missing closing ]: `[]`"),
    ("(a", "missing closing ): `(a`"),
    ("a)", "unexpected ): `a)`"),
    ("*a", "missing argument to repetition operator: `*`"),
    ("a|+", "missing argument to repetition operator: `+`"),
    ("a**", "invalid nested repetition operator: `**`"),
    ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
    ("a{1001}", "invalid repeat count: `{1001}`"),
    ("a{3,2}", "invalid repeat count: `{3,2}`"),
    ("[z-a]", "invalid character class range: `z-a`"),
    ("[[:letter:]]", "invalid character class range: `[:letter:]`"),
    ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
    (r"\y", r"invalid escape sequence: `\y`"),
    ("a\\", "trailing backslash at end of expression: ``"),
]


@pytest.mark.parametrize(("expression", "error"), _MALFORMED)
def test_what_is_malformed_is_refused(expression: str, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        is_match(expression, "net")


def test_the_refusals_are_gos(tmp_path: Path) -> None:
    """By Go's compiler itself."""
    source = 'package main\nimport ("fmt"; "os"; "regexp")\nfunc main() {\nfor _, e := range os.Args[1:] {\n'
    source += "_, err := regexp.Compile(e)\nfmt.Println(err)\n}\n}\n"
    (tmp_path / "main.go").write_text(source)
    expressions = [expression for expression, _ in _MALFORMED]
    command = ["/usr/bin/go", "run", f"{tmp_path}/main.go", *expressions]
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == [f"error parsing regexp: {error}" for _, error in _MALFORMED]
