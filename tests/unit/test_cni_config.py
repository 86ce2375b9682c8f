"""Reading a network configuration."""

import pytest

from shibafu.cni import errors
from shibafu.cni.config import Section, parse_config, parse_valid_attachments
from shibafu.cni.errors import CniError


def section(**values: object) -> Section:
    return Section(values, "NetConf")


@pytest.mark.parametrize("spelling", ["hairpinMode", "hairpinmode", "HairpinMode", "HAIRPINMODE"])
def test_keys_match_without_regard_to_case(spelling: str) -> None:
    assert section(**{spelling: True}).flag("hairpinMode") is True


def test_the_exact_spelling_wins_over_another() -> None:
    assert section(MTU=1, mtu=2).number("mtu") == 2


@pytest.mark.parametrize("values", [{}, {"key": None}])
def test_absent_and_null_have_the_default_of_the_type(values: dict[str, object]) -> None:
    config = section(**values)
    assert "key" not in config
    assert config.text("key") == ""
    assert config.text("key", "x") == "x"
    assert config.flag("key") is False
    assert config.flag("key", True) is True
    assert config.number("key") is None
    assert config.unsigned("key") is None
    assert config.section("key").values == {}
    assert config.array("key") == []
    assert config.texts("key") == []
    assert config.sections("key") == []


@pytest.mark.parametrize("value", ["", 0, False, [], {}])
def test_an_empty_value_is_there(value: object) -> None:
    assert "key" in section(key=value)


@pytest.mark.parametrize(
    ("read", "value", "got", "wanted"),
    [
        ("text", 1, "number", "string"),
        ("text", True, "bool", "string"),
        ("text", [], "array", "string"),
        ("flag", "true", "string", "bool"),
        ("flag", 1, "number", "bool"),
        ("number", "1500", "string", "int"),
        ("number", 1.5, "number 1.5", "int"),
        ("number", True, "bool", "int"),
        ("unsigned", -1, "number -1", "uint"),
        ("unsigned", 1 << 32, "number 4294967296", "uint"),
        ("section", [], "array", "object"),
        ("section", "x", "string", "object"),
        ("array", {}, "object", "array"),
        ("texts", [1], "number", "string"),
        ("sections", ["x"], "string", "object"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_in_the_references_words(
    read: str, value: object, got: str, wanted: str
) -> None:
    with pytest.raises(CniError) as caught:
        getattr(section(mtu=value), read)("mtu")
    assert caught.value.code == errors.INVALID_CONFIG
    assert caught.value.msg == (
        f"failed to load netconf: json: cannot unmarshal {got} into Go struct field "
        f"NetConf.mtu of type {wanted}"
    )
    assert caught.value.details.startswith('change "mtu" to ')


def test_a_refusal_names_the_path_of_the_key() -> None:
    with pytest.raises(CniError, match=r"NetConf\.ipam\.ranges\.subnet"):
        section(ipam={"ranges": [{"subnet": 1}]}).section("ipam").sections("ranges")[0].text("subnet")


@pytest.mark.parametrize("bits", [8, 32, 64])
def test_unsigned_is_as_wide_as_asked_for(bits: int) -> None:
    assert section(key=(1 << bits) - 1).unsigned("key", bits) == (1 << bits) - 1
    with pytest.raises(CniError):
        section(key=1 << bits).unsigned("key", bits)


def test_arrays_of_objects_and_strings() -> None:
    config = section(ranges=[{"a": 1}, {"A": 2}], names=["x", "y"])
    assert [item.number("a") for item in config.sections("ranges")] == [1, 2]
    assert config.texts("names") == ["x", "y"]


def test_what_is_null_in_an_array_is_empty() -> None:
    config = section(ranges=[None], names=[None, "y"])
    assert [item.values for item in config.sections("ranges")] == [{}]
    assert config.texts("names") == ["", "y"]


def test_what_the_reference_reads_is_read() -> None:
    config = parse_config(b'{"x": "a\xffb", "y": ' + b"9" * 5000 + b', "name": "net"}')
    assert config.text("name") == "net"
    assert config.text("x") == "a\ufffdb"
    with pytest.raises(CniError, match="cannot unmarshal number"):
        config.number("y")


@pytest.mark.parametrize(
    "stdin", [b"", b"  ", b"{", b"[]", b"null", b'"x"', b"1", b"{} {}", b"\xff{}", b"{'a': 1}", b"[" * 100000]
)
def test_what_is_not_one_json_object_cannot_be_decoded(stdin: bytes) -> None:
    with pytest.raises(CniError, match=r"^error unmarshall network config: ") as caught:
        parse_config(stdin)
    assert caught.value.code == errors.DECODING_FAILURE
    assert "JSON object" in caught.value.details


# The list of attachments that GC is given


def parse_attachments(**values: object) -> list[tuple[str, str]] | None:
    return parse_valid_attachments(Section(values, "NetConf"))


def test_an_absent_key_is_not_an_empty_list() -> None:
    assert parse_attachments() is None
    assert parse_attachments(**{"cni.dev/valid-attachments": None}) is None
    assert parse_attachments(**{"cni.dev/valid-attachments": []}) == []


def test_each_attachment_is_a_container_and_an_interface() -> None:
    listed = [{"containerID": "a", "ifname": "eth0"}, {"ContainerID": "a", "IfName": "eth1"}]
    assert parse_attachments(**{"cni.dev/valid-attachments": listed}) == [("a", "eth0"), ("a", "eth1")]


def test_the_key_of_older_runtimes_is_not_it() -> None:
    assert parse_attachments(**{"cni.dev/attachments": []}) is None


@pytest.mark.parametrize("value", ["x", {}, ["x"], [{"containerID": 1, "ifname": "eth0"}]])
def test_a_list_that_cannot_be_understood_frees_nothing(value: object) -> None:
    with pytest.raises(CniError):
        parse_attachments(**{"cni.dev/valid-attachments": value})
