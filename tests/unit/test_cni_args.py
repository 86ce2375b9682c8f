"""CNI_ARGS."""

import pytest

from shibafu.cni import errors
from shibafu.cni.args import parse_args
from shibafu.cni.errors import CniError


def test_known_pairs_are_returned() -> None:
    assert parse_args("IP=10.0.0.2;MAC=02:00:00:00:00:01", ("IP", "MAC")) == {
        "IP": "10.0.0.2",
        "MAC": "02:00:00:00:00:01",
    }


def test_no_args_are_fine() -> None:
    assert parse_args("", ("IP",)) == {}


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(CniError) as caught:
        parse_args("K8S_POD_NAME=b;IP=10.0.0.2;X=1", ("IP",))
    assert caught.value.code == errors.INVALID_ENVIRONMENT
    assert caught.value.msg == 'ARGS: unknown args ["K8S_POD_NAME=b" "X=1"]'
    assert "IgnoreUnknown=1" in caught.value.details


def test_keys_are_case_sensitive() -> None:
    with pytest.raises(CniError, match=r'^ARGS: unknown args \["ip=10\.0\.0\.2"\]$'):
        parse_args("ip=10.0.0.2", ("IP",))


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "True"])
@pytest.mark.parametrize("order", ["IgnoreUnknown={};X=1;IP=10.0.0.2", "IP=10.0.0.2;X=1;IgnoreUnknown={}"])
def test_unknown_keys_are_passed_over_on_request(value: str, order: str) -> None:
    # containerd gives its arguments in random order
    assert parse_args(order.format(value), ("IP",)) == {"IP": "10.0.0.2"}


@pytest.mark.parametrize("value", ["0", "false", "False"])
def test_ignore_unknown_can_be_off(value: str) -> None:
    with pytest.raises(CniError, match="unknown args"):
        parse_args(f"IgnoreUnknown={value};X=1", ("IP",))
    assert parse_args(f"IgnoreUnknown={value};IP=10.0.0.2", ("IP",)) == {"IP": "10.0.0.2"}


@pytest.mark.parametrize("value", ["", "2", "yes"])
def test_ignore_unknown_must_be_a_boolean(value: str) -> None:
    with pytest.raises(CniError, match=r"error parsing value of pair .IgnoreUnknown=") as caught:
        parse_args(f"IgnoreUnknown={value}", ())
    assert caught.value.code == errors.INVALID_ENVIRONMENT


@pytest.mark.parametrize(
    ("text", "pair"),
    [("IP=10.0.0.2;", ""), (";", ""), ("IP", "IP"), ("=1", "=1"), ("IP=a=b", "IP=a=b"), ("A=1;;B=2", "")],
)
def test_a_pair_needs_a_key_and_one_equals_sign(text: str, pair: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_args(text, ("IP", "A", "B"))
    assert caught.value.msg == f'ARGS: invalid pair "{pair}"'
    assert caught.value.code == errors.INVALID_ENVIRONMENT


def test_a_value_may_be_empty() -> None:
    assert parse_args("IP=", ("IP",)) == {"IP": ""}
