"""Images, users, root file systems: what needs neither root nor runc."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from shibafu.container.builtin import is_static, make_builtin
from shibafu.container.containers import calc_status, explain_failure
from shibafu.container.errors import ContainerError
from shibafu.container.image import Defaults, ImageStore
from shibafu.container.importing import import_image
from shibafu.container.overlay import is_mounted
from shibafu.container.tools import find_tool, run_tool
from shibafu.container.users import find_user


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\nbroken\n")
    (directory / "etc/group").write_text("root:x:0:\nadm:x:4:web\n")
    return directory


_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def make_layout(layout: Path) -> Path:
    """Make the OCI layout of an image without layers."""
    documents: dict[str, object] = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"manifests": [{"mediaType": _MANIFEST, "digest": "sha256:aa"}]},
        "blobs/sha256/aa": {"config": {"digest": "sha256:bb"}},
        "blobs/sha256/bb": {},
    }
    (layout / "blobs/sha256").mkdir(parents=True)
    for name, document in documents.items():
        (layout / name).write_text(json.dumps(document))
    return layout


def make(store: ImageStore, name: str) -> None:
    with store.making(name, "test") as making:
        making.rootfs.mkdir()
        making.defaults = Defaults(command=["ls"], env=["A=1"])


class TestStore:
    def test_an_image_is_found_again(self, store: ImageStore) -> None:
        make(store, "one")
        image = store.find("one")
        assert image is not None
        assert (image.name, image.source, image.defaults.command) == ("one", "test", ["ls"])
        assert Path(image.rootfs).is_dir()
        assert [image.name for image in store.images()] == ["one"]

    def test_a_failure_leaves_nothing(self, store: ImageStore) -> None:
        with pytest.raises(ContainerError), store.making("one", "test") as making:
            import_image(making, Path("/nonexistent"))
        assert store.find("one") is None
        assert os.listdir(store.directory) == []

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a:b", "-a"])
    def test_names_are_no_paths(self, store: ImageStore, name: str) -> None:
        assert store.find(name) is None
        with pytest.raises(ContainerError, match="not a valid name for an image"), store.making(name, "test"):
            pass
        with pytest.raises(ContainerError, match="there is no image"):
            store.remove(name)

    def test_a_name_is_taken_once(self, store: ImageStore) -> None:
        make(store, "one")
        with pytest.raises(ContainerError, match="there is already an image one"):
            make(store, "one")

    def test_removing(self, store: ImageStore) -> None:
        make(store, "one")
        store.remove("one")
        assert store.find("one") is None
        assert os.listdir(store.directory) == []

    def test_a_damaged_image_is_told_and_not_listed(self, store: ImageStore) -> None:
        make(store, "one")
        (store.directory / "one/image.json").write_text('{"defaults": {"nonsense": 1}}')
        with pytest.raises(ContainerError, match="image one is damaged"):
            store.find("one")
        assert store.images() == []


class TestImporting:
    def test_a_directory(self, store: ImageStore, rootfs: Path) -> None:
        (rootfs / "link").symlink_to("/etc/passwd")
        with store.making("one", "test") as making:
            import_image(making, rootfs)
        copied = store.directory / "one/rootfs"
        assert (copied / "etc/group").read_text() == (rootfs / "etc/group").read_text()
        assert os.readlink(copied / "link") == "/etc/passwd"

    @pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
    def test_an_archive(self, store: ImageStore, rootfs: Path, tmp_path: Path, suffix: str) -> None:
        archive = tmp_path / f"root.tar{suffix}"
        run_tool("tar", "-caf", str(archive), "-C", str(rootfs), ".", why="test")
        with store.making("one", "test") as making:
            import_image(making, archive)
        assert (store.directory / "one/rootfs/etc/group").is_file()

    def test_an_archive_does_not_write_elsewhere(self, store: ImageStore, tmp_path: Path) -> None:
        archive = tmp_path / "evil.tar"
        with tarfile.open(archive, "w") as file:
            entry = tarfile.TarInfo("../../evil")
            file.addfile(entry)
        with pytest.raises(ContainerError, match="tar failed"), store.making("one", "test") as making:
            import_image(making, archive)
        assert not list(tmp_path.rglob("evil"))

    def test_what_is_no_image(self, store: ImageStore, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("nonsense")
        (tmp_path / "empty").mkdir()
        for source, message in (("file", "not a tar archive"), ("none", "no file or"), ("empty", "is empty")):
            with pytest.raises(ContainerError, match=message), store.making("one", "test") as making:
                import_image(making, tmp_path / source)

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            ("[]", "not a JSON object"),
            ("nonsense", "cannot be read"),
            ('{"manifests": []}', "has 0 images"),
            (
                json.dumps(
                    {
                        "manifests": [
                            {
                                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                                "digest": "../../x:../../etc/passwd",
                            }
                        ]
                    }
                ),
                "malformed digest",
            ),
        ],
    )
    def test_a_bad_layout(self, store: ImageStore, tmp_path: Path, index: str, message: str) -> None:
        layout = tmp_path / "layout"
        layout.mkdir()
        (layout / "oci-layout").write_text("{}")
        (layout / "index.json").write_text(index)
        with pytest.raises(ContainerError, match=message), store.making("one", "test") as making:
            import_image(making, layout)

    @pytest.mark.parametrize(
        ("documents", "message"),
        [
            ({"index.json": {"manifests": [1]}}, "AttributeError"),
            ({"index.json": {"manifests": 5}}, "TypeError"),
            ({"index.json": {"manifests": [{"mediaType": _MANIFEST}]}}, "KeyError: 'digest'"),
            ({"blobs/sha256/aa": {}}, "KeyError: 'config'"),
            ({"blobs/sha256/bb": {"config": [1]}}, "AttributeError"),
            ({"blobs/sha256/bb": {"config": {"Entrypoint": 5}}}, '"Entrypoint" is not a list of strings'),
            ({"blobs/sha256/bb": {"config": {"Env": [1]}}}, '"Env" is not a list of strings'),
            ({"blobs/sha256/bb": {"config": {"User": 5}}}, '"User" is not a string'),
            ({"blobs/sha256/bb": {"config": {"WorkingDir": [1]}}}, '"WorkingDir" is not a string'),
        ],
    )
    def test_a_layout_that_makes_no_sense(
        self, store: ImageStore, tmp_path: Path, documents: dict[str, object], message: str
    ) -> None:
        layout = make_layout(tmp_path / "layout")
        for name, document in documents.items():
            (layout / name).write_text(json.dumps(document))
        with pytest.raises(ContainerError, match=message), store.making("one", "test") as making:
            import_image(making, layout)

    def test_a_layout_of_many_brackets(self, store: ImageStore, tmp_path: Path) -> None:
        layout = make_layout(tmp_path / "layout")
        (layout / "index.json").write_text("[" * 200_000)
        with pytest.raises(ContainerError, match="cannot be read"), store.making("one", "test") as making:
            import_image(making, layout)

    @pytest.mark.parametrize("name", ["index.json", "blobs/sha256/aa", "blobs/sha256/cc"])
    @pytest.mark.parametrize("is_archive", [False, True])
    def test_a_fifo_in_a_layout_is_not_waited_for(
        self, store: ImageStore, tmp_path: Path, name: str, is_archive: bool
    ) -> None:
        source = layout = make_layout(tmp_path / "layout")
        (layout / name).unlink(missing_ok=True)
        os.mkfifo(layout / name)
        if is_archive:
            source = tmp_path / "layout.tar"
            with tarfile.open(source, "w") as archive:
                archive.add(layout, ".")
        with pytest.raises(ContainerError, match="not a regular"), store.making("one", "test") as making:
            import_image(making, source)


class TestBuiltin:
    def test_it_is_all_busybox(self, store: ImageStore) -> None:
        with store.making("one", "test") as making:
            make_builtin(making)
        root = store.directory / "one/rootfs"
        assert os.readlink(root / "bin/sh") == "busybox"
        assert is_static((root / "bin/busybox").read_bytes())
        assert find_user(root, "nobody") == (65534, 65534)

    def test_a_busybox_that_needs_libraries_is_refused(self, store: ImageStore) -> None:
        for places in (("/usr/bin/env",), ("/nothing",)):
            with (
                pytest.raises(ContainerError, match="statically linked"),
                store.making("one", "test") as making,
            ):
                make_builtin(making, places)

    def test_what_is_no_program_is_not_static(self) -> None:
        assert not is_static(b"")
        assert not is_static(b"#!/bin/sh\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0)),
        ("0", (0, 0)),
        ("web", (33, 34)),
        ("33", (33, 34)),
        ("33:7", (33, 7)),
        ("web:adm", (33, 4)),
        ("4711", (4711, 0)),
    ],
)
def test_users(rootfs: Path, text: str, expected: tuple[int, int]) -> None:
    assert find_user(rootfs, text) == expected


@pytest.mark.parametrize("text", ["nobody", "web:nogroup", "broken"])
def test_unknown_users(rootfs: Path, text: str) -> None:
    with pytest.raises(ContainerError, match="the image has no"):
        find_user(rootfs, text)


@pytest.mark.parametrize("number", ["2147483648", "9" * 5000])
def test_numbers_that_no_user_has(rootfs: Path, number: str) -> None:
    (rootfs / "etc/passwd").write_text(f"web:x:{number}:0::/:/bin/false\nadm:x:1:{number}::/:/bin/false\n")
    for text in ("web", "adm", number, f"0:{number}"):
        with pytest.raises(ContainerError, match="is not a user or group"):
            find_user(rootfs, text)


def test_links_in_a_circle_are_no_table_of_users(rootfs: Path) -> None:
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to("passwd")
    assert find_user(rootfs, "") == (0, 0)
    with pytest.raises(ContainerError, match="the image has no user web"):
        find_user(rootfs, "web")


def test_users_are_the_images_not_the_hosts(rootfs: Path) -> None:
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(ContainerError, match="the image has no user root"):
        find_user(rootfs, "root")


def test_programs() -> None:
    with pytest.raises(ContainerError, match="nosuch is not installed: why") as caught:
        find_tool("nosuch", "why")
    assert caught.value.hint == "apt-get install nosuch"
    with pytest.raises(ContainerError, match=r"cp failed: .*missing file operand"):
        run_tool("cp", why="test")


def test_mounts() -> None:
    assert is_mounted(Path("/proc"))
    assert not is_mounted(Path("/proc/self"))


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ('exec: "x": executable file not found in $PATH', 127),
        ('exec: "/x": stat /x: no such file or directory', 127),
        ('exec: "/x/y": stat /x/y: not a directory', 127),
        ('exec: "/x": permission denied', 126),
        ('exec: "/x": too many levels of symbolic links', 126),
        ("error during container init: mkdir /x: not a directory", 125),
        ("error mounting /x to rootfs: no such file or directory", 125),
        ("", 125),
    ],
)
def test_a_failure_has_the_status_of_its_kind(failure: str, status: int) -> None:
    assert calc_status(failure) == status


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        (
            'runc run failed: unable to start container process: exec: "x": not found',
            'exec: "x": not found',
        ),
        ("runc run failed: x hook #0: exit status 1, stderr: shibafu-hook: no address\n", "no address"),
        ("runc run failed: container with given ID already exists", "container with given ID already exists"),
        ("whatever", "whatever"),
        ("", ""),
    ],
)
def test_failures_are_told_without_the_way_there(said: str, explained: str) -> None:
    assert explain_failure(said) == explained
