"""Error objects, and versions."""

import pytest

from shibafu.cni import errors, version
from shibafu.cni.errors import CniError, merge_errors
from shibafu.cni.failures import describe_os_error


def test_an_error_object_has_the_specifications_keys() -> None:
    assert CniError(7, "bad", "more").to_json("1.0.0") == {
        "cniVersion": "1.0.0",
        "code": 7,
        "msg": "bad",
        "details": "more",
    }


def test_empty_parts_are_left_out() -> None:
    assert CniError(7, "bad").to_json("") == {"code": 7, "msg": "bad"}


def test_an_error_reads_as_its_message() -> None:
    assert str(CniError(7, "bad", "more")) == "bad"


def test_the_suites_own_codes_leave_the_reserved_ones_alone() -> None:
    own = [
        errors.INTERNAL,
        errors.NETWORK_SETUP,
        errors.FIREWALL,
        errors.DELEGATE,
        errors.CHECK_FAILED,
        errors.NO_ADDRESS,
    ]
    assert len(set(own)) == len(own)
    assert min(own) >= 100


def test_one_error_stays_itself_and_several_are_all_told() -> None:
    one, two = CniError(101, "a", "x"), CniError(102, "b", "y")
    assert merge_errors([one]) is one
    merged = merge_errors([one, two])
    assert (merged.code, merged.msg) == (101, "a; b")
    assert "x" in merged.details
    assert "y" in merged.details


def test_what_several_errors_have_in_common_is_told_once() -> None:
    one, two = CniError(102, "nft is not installed", "install it"), CniError(5, "b", "y")
    merged = merge_errors([one, one, two, one])
    assert (merged.code, merged.msg, merged.details) == (102, "nft is not installed; b", "install it; y")


@pytest.mark.parametrize(
    ("error", "message", "details"),
    [
        (OSError(28, "No space left on device", "/x"), "cannot do it: /x: no space left on device", "free"),
        (OSError(30, "Read-only file system"), "cannot do it: read-only file system", "read-only"),
        (OSError(5, "Input/output error", "/x"), "cannot do it: /x: input/output error", ""),
        (OSError("odd"), "cannot do it: odd", ""),
    ],
)
def test_errors_of_the_kernel_are_sentences(error: OSError, message: str, details: str) -> None:
    said = describe_os_error("do it", error)
    assert (said.code, said.msg) == (errors.IO_FAILURE, message)
    assert details in said.details
    assert describe_os_error("do it", error, "more").details == "more"


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_verbs_begin_with_their_version(verb: str) -> None:
    allowed = [v for v in version.SUPPORTED if version.allows_verb(v, verb)]
    first = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}.get(verb, "0.1.0")
    assert allowed == list(version.SUPPORTED[version.SUPPORTED.index(first) :])


def test_every_version_is_of_one_group_of_results() -> None:
    assert [v for group in version.RESULT_GROUPS for v in group] == list(version.SUPPORTED)
    assert version.result_group("0.4.0") == ("0.3.0", "0.3.1", "0.4.0")
    assert version.result_group("9.9.9") == ()
    assert version.SUPPORTED[-1] == version.LATEST
    assert version.SUPPORTED[0] == version.DEFAULT
