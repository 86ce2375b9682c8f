"""The files of policies: what is read, what is written, and what stays as it was."""

import json
import os
from pathlib import Path

import pytest

from netns.policy_cases import match, policy
from shibafu.documents.errors import DocumentError
from shibafu.documents.json_lines import compose_json_lines, format_json_lines
from shibafu.policy.model import Namespace, Policy, PolicySet
from shibafu.policy.policy_documents import PolicySource, parse_sources
from shibafu.policy.policy_files import PolicyDirectory, list_policy_files, read_sources, split_name

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
DENY = f"{HEAD}metadata: {{name: deny}}\nspec: {{podSelector: {{}}}}\n"
WEB = f"{HEAD}metadata:\n  name: web\n  creationTimestamp: 2026-01-01T00:00:00Z\nspec: {{ingress: [{{}}]}}\n"
SPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {team: red}}\n"


@pytest.fixture
def directory(tmp_path: Path) -> PolicyDirectory:
    return PolicyDirectory(str(tmp_path / "policies"))


def nothing(_policies: PolicySet) -> None:
    """Stand for a kernel that takes all policies."""


def sources(*texts: str) -> list[PolicySource]:
    return parse_sources("---\n".join(texts), "given.yaml")


def load(directory: PolicyDirectory) -> dict[str, str]:
    """Return what is declared where, by its key."""
    mistakes: list[str] = []
    found = directory.load(mistakes)
    assert mistakes == []
    declared: list[Policy | Namespace] = [*found.policies, *found.namespaces]
    return {"/".join(one.key): os.path.relpath(one.place, directory.path) for one in declared}


def test_a_missing_directory_has_no_policies(directory: PolicyDirectory) -> None:
    assert load(directory) == {}


def test_what_was_stored_is_read_again(directory: PolicyDirectory) -> None:
    given = sources(DENY, WEB, SPACE)
    assert [one.action for one in directory.store(given, nothing)] == ["create", "create", "create"]
    assert load(directory) == {
        "default/deny": "applied.json:2",
        "default/web": "applied.json:3",
        "a": "applied.json:4",
    }
    found = directory.load([])
    assert [*found.policies, *found.namespaces] == [one.declared for one in given]
    content = json.loads(Path(directory.path, "applied.json").read_text())
    assert (content["kind"], len(content["items"])) == ("List", 3)


def test_nobody_else_can_read_or_write_them(directory: PolicyDirectory) -> None:
    former = os.umask(0)
    try:
        directory.store(sources(DENY), nothing)
    finally:
        os.umask(former)
    assert os.stat(directory.path).st_mode & 0o777 == 0o700
    assert os.stat(f"{directory.path}/applied.json").st_mode & 0o777 == 0o600


def test_a_policy_is_changed_and_kept(directory: PolicyDirectory) -> None:
    directory.store(sources(DENY, WEB), nothing)
    inode = os.stat(f"{directory.path}/applied.json").st_ino
    assert [one.action for one in directory.store(sources(WEB), nothing)] == ["keep"]
    assert os.stat(f"{directory.path}/applied.json").st_ino == inode
    changed = DENY.replace("spec: {", "spec: {policyTypes: [Egress], ")
    assert [one.action for one in directory.store(sources(changed, WEB, SPACE), nothing)] == [
        "change",
        "keep",
        "create",
    ]
    assert directory.load([]).policies[0].types == ("Egress",)
    assert list(load(directory)) == ["default/deny", "default/web", "a"]


def test_what_would_change_is_calculated_without_changing_it(directory: PolicyDirectory) -> None:
    assert [one.action for one in directory.calc_changes(sources(DENY))] == ["create"]
    assert not os.path.exists(directory.path)


def test_files_of_people_are_read_in_order_and_not_changed(directory: PolicyDirectory) -> None:
    os.mkdir(directory.path, 0o700)
    for name, text in (("web.yml", WEB), ("a.yaml", SPACE), ("notes.txt", "?"), (".hidden.yaml", "?")):
        Path(directory.path, name).write_text(text)
    assert [os.path.basename(path) for path in list_policy_files(directory.path)] == ["a.yaml", "web.yml"]
    assert load(directory) == {"default/web": "web.yml:1", "a": "a.yaml:1"}
    assert [one.action for one in directory.store(sources(WEB, DENY), nothing)] == ["keep", "create"]
    assert load(directory) == {"default/deny": "applied.json:2", "default/web": "web.yml:1", "a": "a.yaml:1"}
    with pytest.raises(DocumentError, match=r"given.yaml:5: policy default/web is declared in .*/web.yml:1"):
        directory.store(sources(SPACE.replace("a, labels", "b, labels"), WEB.replace("[{}]", "[]")), nothing)
    assert "b" not in load(directory)


def test_a_policy_is_removed(directory: PolicyDirectory) -> None:
    directory.store(sources(DENY, WEB), nothing)
    Path(directory.path, "space.yaml").write_text(DENY.replace("name: deny", "name: deny, namespace: x"))
    directory.remove("default", "deny", nothing)
    assert load(directory) == {"default/web": "applied.json:2", "x/deny": "space.yaml:1"}
    with pytest.raises(DocumentError, match="there is no policy default/deny"):
        directory.remove("default", "deny", nothing)
    with pytest.raises(DocumentError, match=r"x/deny is declared in .*space.yaml:1") as caught:
        directory.remove("x", "deny", nothing)
    assert caught.value.hint == "remove it there"


def test_nothing_is_stored_while_a_file_is_invalid(directory: PolicyDirectory) -> None:
    directory.store(sources(DENY), nothing)
    Path(directory.path, "bad.yaml").write_text("kind: Pod\n")
    Path(directory.path, "twice.yaml").write_text(DENY)
    mistakes: list[str] = []
    assert [one.name for one in directory.load(mistakes).policies] == ["deny"]
    assert [line.partition(": ")[2].partition(";")[0] for line in mistakes] == [
        'kind "Pod" is not supported',
        f"policy default/deny occurs twice, first in {directory.path}/applied.json:2",
    ]
    with pytest.raises(DocumentError, match='kind "Pod"'):
        directory.store(sources(WEB), nothing)
    with pytest.raises(DocumentError, match='kind "Pod"'):
        directory.remove("default", "deny", nothing)


def test_nothing_is_written_that_the_kernel_refuses(directory: PolicyDirectory) -> None:
    directory.store(sources(DENY), nothing)
    seen: list[list[str]] = []

    def refuse(policies: PolicySet) -> None:
        seen.append([policy.name for policy in policies.policies])
        raise OSError("nft is not installed")

    with pytest.raises(OSError, match="nft"):
        directory.store(sources(WEB), refuse)
    with pytest.raises(OSError, match="nft"):
        directory.remove("default", "deny", refuse)
    assert seen == [["deny", "web"], []]
    assert load(directory) == {"default/deny": "applied.json:2"}


def test_several_files_are_read_together(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(DENY)
    other.write_bytes(b"\xef\xbb\xbf" + WEB.encode())
    mistakes: list[str] = []
    found = read_sources([str(one), str(other)], mistakes)
    assert ([source.title for source in found], mistakes) == (
        ["policy default/deny", "policy default/web"],
        [],
    )


def test_lines_of_json_are_read_like_yaml() -> None:
    documents = [
        policy([{"from": []}], [{}]),
        policy([{"ports": [{"port": 80}]}], target=match(a="b"), name="p"),
    ]
    text = format_json_lines(documents)
    assert json.loads(text)["items"] == documents
    quick = parse_sources(text, "f")
    assert [one.declared.place for one in quick] == ["f:2", "f:3"]
    slow = parse_sources(" " + text, "f")  # is not of that form
    assert compose_json_lines(" " + text) is None
    assert [(one.declared, one.document) for one in quick] == [(one.declared, one.document) for one in slow]
    assert [one.document for one in quick] == documents


@pytest.mark.parametrize("text", ["", "{", format_json_lines([]), format_json_lines([]).replace("}", "")])
def test_other_files_are_no_lines_of_json(text: str) -> None:
    found = compose_json_lines(text)
    assert found is None or list(found) == []


def test_a_key_that_occurs_twice_is_seen_in_lines_of_json() -> None:
    text = format_json_lines([policy([])]).replace('"spec":{', '"spec":{},"spec":{')
    with pytest.raises(DocumentError, match='f:2: "spec" occurs twice'):
        parse_sources(text, "f")


@pytest.mark.parametrize("text", ["", "/", "/a", "a/", "a/b/c"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(DocumentError, match="is not a policy"):
        split_name(text)


def test_a_name() -> None:
    assert split_name("a/b") == ("a", "b")
    assert split_name("b") == ("default", "b")
