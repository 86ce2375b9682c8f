"""The list of attachments that GC is given."""

import pytest

from shibafu.cni.attachments import parse_valid_attachments
from shibafu.cni.config import Section
from shibafu.cni.errors import CniError


def parse(**values: object) -> list[tuple[str, str]] | None:
    return parse_valid_attachments(Section(values, "NetConf"))


def test_an_absent_key_is_not_an_empty_list() -> None:
    assert parse() is None
    assert parse(**{"cni.dev/valid-attachments": None}) is None
    assert parse(**{"cni.dev/valid-attachments": []}) == []


def test_each_attachment_is_a_container_and_an_interface() -> None:
    listed = [{"containerID": "a", "ifname": "eth0"}, {"ContainerID": "a", "IfName": "eth1"}]
    assert parse(**{"cni.dev/valid-attachments": listed}) == [("a", "eth0"), ("a", "eth1")]


def test_the_key_of_older_runtimes_is_not_it() -> None:
    assert parse(**{"cni.dev/attachments": []}) is None


@pytest.mark.parametrize("value", ["x", {}, ["x"], [{"containerID": 1, "ifname": "eth0"}]])
def test_a_list_that_cannot_be_understood_frees_nothing(value: object) -> None:
    with pytest.raises(CniError):
        parse(**{"cni.dev/valid-attachments": value})
