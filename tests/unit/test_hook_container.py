"""What shibafu-hook reads of a container, the files that it writes, and how it says what is wrong."""

import json
import os
import stat
from collections.abc import Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.errors import CniError
from shibafu.hook.__main__ import run
from shibafu.hook.container import Container, parse_state
from shibafu.hook.mounts import MountTable
from shibafu.hook.name_resolution import calc_host_resolv_conf, calc_resolv_conf, write_files
from shibafu.hook.settings import NamedFile, Settings

RESULT: dict[str, object] = {
    "cniVersion": "1.0.0",
    "ips": [{"address": "10.0.0.2/24"}, {"address": "fd00::2/64"}],
    "dns": {"nameservers": ["10.0.0.1"], "domain": "a.test", "search": ["a.test"], "options": ["ndots:2"]},
}
SILENT: dict[str, object] = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]}


def write_bundle(bundle: Path, **config: object) -> Path:
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def parse(bundle: Path, **changes: object) -> Container:
    state = {"ociVersion": "1.0.2", "id": "web1", "status": "creating", "pid": 42, "bundle": str(bundle)}
    return parse_state(json.dumps(state | changes).encode())


def bind(destination: str, source: str) -> dict[str, object]:
    return {"destination": destination, "type": "bind", "source": source}


class TestState:
    def test_of_a_container_that_is_made(self, tmp_path: Path) -> None:
        container = parse(write_bundle(tmp_path, hostname="h", annotations={"a": "1", "b": "1"}))
        assert (container.id, container.is_alive, container.netns) == ("web1", True, "/proc/42/ns/net")
        assert (container.hostname, container.annotations) == ("h", {"a": "1", "b": "1"})

    def test_annotations_of_the_state_go_before_the_bundle_s(self, tmp_path: Path) -> None:
        bundle = write_bundle(tmp_path, annotations={"a": "1", "b": "1"})
        assert parse(bundle, annotations={"b": "2"}).annotations == {"a": "1", "b": "2"}

    @pytest.mark.parametrize("changes", [{"pid": 0}, {"pid": None}, {"status": "stopped"}])
    def test_of_one_that_is_gone(self, tmp_path: Path, changes: dict[str, object]) -> None:
        """runc leaves the pid out, crun sends 0; the bundle may be gone."""
        container = parse(tmp_path / "gone", **changes)
        assert (container.is_alive, container.annotations, container.hostname) == (False, {}, "web1")

    def test_of_the_first_libcontainers(self, tmp_path: Path) -> None:
        state = {"id": "web1", "pid": 42, "bundlePath": str(write_bundle(tmp_path, hostname="h"))}
        assert parse_state(json.dumps(state).encode()).hostname == "h"

    @pytest.mark.parametrize(
        ("document", "message"),
        [(b"", "is not JSON"), (b"[]", "is not a JSON object"), (b"{}", "names no container")],
    )
    def test_nonsense(self, document: bytes, message: str) -> None:
        with pytest.raises(CniError, match=message):
            parse_state(document)

    @pytest.mark.parametrize("annotations", [[], {"a": 1}, {"a": [[[]]]}, "x"])
    def test_annotations_are_texts(self, tmp_path: Path, annotations: object) -> None:
        bundle = write_bundle(tmp_path, annotations=annotations)
        with pytest.raises(CniError):
            parse(bundle)
        assert parse(bundle, pid=0).annotations == {}

    def test_a_living_container_needs_its_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(CniError, match=r"cannot read .*config\.json: No such file"):
            parse(tmp_path)

    def test_the_last_mount_counts(self, tmp_path: Path) -> None:
        mounts = [bind("/etc/hosts", "/a"), bind("/etc/hosts/", "b")]
        container = parse(write_bundle(tmp_path, mounts=mounts))
        assert container.find_mount("/etc/hosts") == f"{tmp_path}/b"
        assert container.find_mount("/etc/resolv.conf") == ""


class TestFiles:
    def write(
        self,
        bundle: Path,
        *results: dict[str, object],
        resolv_conf: str = "",
        hosts: str = "",
        is_flag: bool = False,
        **config: object,
    ) -> None:
        container = parse(write_bundle(bundle, **config))
        first, second = (NamedFile(path, is_flag) for path in (resolv_conf, hosts))
        write_files(container, Settings([], {}, {}, [], {}, first, second, {}), list(results))

    def test_are_written_where_they_are_mounted_and_keep_their_inode(self, tmp_path: Path) -> None:
        for name in ("resolv.conf", "hosts"):
            (tmp_path / name).touch()
        inode = (tmp_path / "hosts").stat().st_ino
        mounts = [bind("/etc/resolv.conf", "resolv.conf"), bind("/etc/hosts", f"{tmp_path}/hosts")]
        self.write(tmp_path, RESULT, mounts=mounts, hostname="h")
        assert (tmp_path / "resolv.conf").read_text() == (
            "nameserver 10.0.0.1\ndomain a.test\nsearch a.test\noptions ndots:2\n"
        )
        assert (tmp_path / "hosts").read_text() == (
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "10.0.0.2\th web1\t# shibafu\nfd00::2\th web1\t# shibafu\n"
        )
        assert (tmp_path / "hosts").stat().st_ino == inode

    def test_what_others_wrote_stays(self, tmp_path: Path) -> None:
        (tmp_path / "hosts").write_text("10.9.9.9 friend\n10.0.0.9\tweb1\t# shibafu\n192.0.2.1 last")
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        mounts = [bind("/etc/resolv.conf", "resolv.conf"), bind("/etc/hosts", "hosts")]
        self.write(tmp_path, SILENT, mounts=mounts)
        assert (tmp_path / "hosts").read_text() == (
            "10.9.9.9 friend\n192.0.2.1 last\n10.1.0.2\tweb1\t# shibafu\n"
        )
        assert (tmp_path / "resolv.conf").read_text() == "nameserver 192.0.2.53\n"

    def test_outside_the_bundle_nothing_is_written_unasked(self, tmp_path: Path) -> None:
        outside = tmp_path / "hosts"
        outside.write_text("mine\n")
        bundle = write_bundle(tmp_path / "bundle")
        (bundle / "link").symlink_to(outside)
        for source in (str(outside), "link", "../hosts", "missing"):
            self.write(bundle, RESULT, mounts=[bind("/etc/hosts", source)])
        assert outside.read_text() == "mine\n"
        self.write(bundle, SILENT, hosts=str(outside), is_flag=True)
        assert outside.read_text() == "mine\n10.1.0.2\tweb1\t# shibafu\n"

    @pytest.mark.parametrize(("key", "path"), [("hosts", "/etc/hosts"), ("resolv_conf", "/etc/resolv.conf")])
    def test_the_host_s_own_are_refused(self, tmp_path: Path, key: str, path: str) -> None:
        before = Path(path).read_bytes()
        with pytest.raises(CniError, match="or the host"):
            self.write(
                tmp_path,
                RESULT,
                resolv_conf=path if key == "resolv_conf" else "",
                hosts=path if key == "hosts" else "",
                is_flag=True,
            )
        assert Path(path).read_bytes() == before

    @pytest.mark.parametrize("key", ["hosts", "resolv_conf"])
    @pytest.mark.parametrize("path", ["config.json", "a/../config.json", "hard"])
    def test_the_bundle_s_description_is_refused(self, tmp_path: Path, key: str, path: str) -> None:
        write_bundle(tmp_path)
        if path == "hard":
            os.link(tmp_path / "config.json", tmp_path / "hard")
        with pytest.raises(CniError):
            self.write(
                tmp_path,
                RESULT,
                resolv_conf=path if key == "resolv_conf" else "",
                hosts=path if key == "hosts" else "",
            )
        assert json.loads((tmp_path / "config.json").read_text()) is not None

    def test_a_named_file_is_made(self, tmp_path: Path) -> None:
        self.write(tmp_path, RESULT, resolv_conf="made")
        assert (tmp_path / "made").read_text().startswith("nameserver 10.0.0.1\n")

    def test_what_cannot_be_written_records_suffice(self, tmp_path: Path) -> None:
        with pytest.raises(CniError, match=r"cannot open none/hosts: No such file"):
            self.write(tmp_path, RESULT, hosts="none/hosts")

    @pytest.mark.parametrize(
        "path",
        [
            *(
                "{outside}/f",
                "../outside/f",
                "a/../../outside/f",
                "proc/etc/x",
                "",
                "hard",
                "fifo",
            ),
            *("link", "to/f", "rootfs/f", "rootfs/to/f", "shared/f", "to-rootfs/f", ".", "a\0b", "\ud800"),
            # Only root makes devices.
            pytest.param("device", marks=pytest.mark.root),
        ],
    )
    @pytest.mark.parametrize("is_flag", [False, True])
    def test_nothing_leads_out_of_the_bundle(self, tmp_path: Path, path: str, is_flag: bool) -> None:
        """Neither paths nor links, which a container can put into its directories, nor what hangs."""
        outside, bundle = tmp_path / "outside", tmp_path / "bundle"
        for directory in (outside, bundle / "rootfs", bundle / "shared"):
            directory.mkdir(parents=True)
        (outside / "f").write_text("mine\n")
        for name in ("link", "rootfs/f", "shared/f"):
            (bundle / name).symlink_to(outside / "f")
        for name in ("to", "rootfs/to"):
            (bundle / name).symlink_to(outside)
        (bundle / "proc").symlink_to("/proc/self/root/nowhere")
        (bundle / "to-rootfs").symlink_to(bundle / "rootfs")
        (outside / "g").touch()
        os.link(outside / "g", bundle / "hard")
        os.mkfifo(bundle / "fifo")
        if path == "device":
            os.mknod(bundle / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        named = path.format(outside=outside)
        if is_flag and not named.startswith("/"):
            named = f"{bundle}/{named}"
        mounts = [bind("/shared", "shared")]
        config: dict[str, Any] = {"root": {"path": "rootfs"}, "mounts": mounts}
        # An administrator may name any path, links to directories included, outside of the container's.
        if named == "" or (is_flag and path in ("{outside}/f", "../outside/f", "to/f")):
            self.write(bundle, SILENT, hosts=named, is_flag=is_flag, **config)
            return
        with pytest.raises(CniError):
            self.write(bundle, SILENT, hosts=named, is_flag=is_flag, **config)
        assert (outside / "f").read_text() == "mine\n"

    @pytest.mark.parametrize(
        "options",
        [
            ["rbind"],
            ["rbind", "ro", "rw"],
            ["rw", "ro", "rw"],
            ["rro"],
            ["ro", "rrw"],
            ["rbind", "ro", "rrw"],
        ],
    )
    def test_of_read_only_and_writable_the_last_counts(self, tmp_path: Path, options: list[str]) -> None:
        """As it does for the runtimes."""
        (tmp_path / "shared").mkdir()
        mount = bind("/shared", "shared") | {"options": options}
        with pytest.raises(CniError, match="to the container"):
            self.write(tmp_path, SILENT, hosts="shared/f", mounts=[mount])
        self.write(tmp_path, SILENT, hosts="shared/f", mounts=[mount | {"options": [*options, "ro", "rro"]}])

    def test_an_overlay_s_upper_directory_is_the_container_s(self, tmp_path: Path) -> None:
        (tmp_path / "upper").mkdir()
        options = ["lowerdir=/a", f"upperdir={tmp_path}/upper", "workdir=/b"]
        mounts: list[dict[str, object]] = [{"destination": "/o", "type": "overlay", "options": options}]
        with pytest.raises(CniError, match="to the container"):
            self.write(tmp_path, SILENT, hosts="upper/hosts", mounts=mounts)
        self.write(tmp_path, SILENT, hosts="hosts", mounts=mounts)

    @pytest.mark.parametrize("source", [".", "..", "../..", "/"])
    def test_nothing_is_written_below_what_is_mounted(self, tmp_path: Path, source: str) -> None:
        bundle = tmp_path / "a/b"
        bundle.mkdir(parents=True)
        mounts = [bind("/shared", str(bundle / source))]
        with pytest.raises(CniError, match="to the container"):
            self.write(bundle, SILENT, hosts="hosts", mounts=mounts)
        assert not (bundle / "hosts").exists()
        self.write(bundle, SILENT, hosts="hosts", mounts=[mounts[0] | {"options": ["bind", "ro"]}])

    @pytest.mark.parametrize("is_named", [False, True])
    def test_another_directory_in_the_bundle_s_place_is_refused(self, tmp_path: Path, is_named: bool) -> None:
        """Whoever can write above the bundle may put a link there after config.json was read."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "passwd").write_text("mine\n")
        bundle = write_bundle(
            tmp_path / "bundle", mounts=[bind("/etc/hosts", str(tmp_path / "bundle/passwd"))]
        )
        container = parse(bundle)
        bundle.rename(tmp_path / "aside")
        bundle.symlink_to(outside)
        hosts = NamedFile("passwd" if is_named else "")
        with pytest.raises(CniError, match="was replaced"):
            write_files(container, Settings([], {}, {}, [], {}, NamedFile(), hosts, {}), [SILENT])
        assert (outside / "passwd").read_text() == "mine\n"

    @pytest.mark.parametrize("is_named", [False, True])
    def test_mounts_that_make_no_sense_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
    ) -> None:
        """Only where an annotation names a file; nothing else needs them."""
        monkeypatch.setattr("shibafu.hook.forbidden_paths.read_mounts", lambda: MountTable(b""))
        (tmp_path / "hosts").touch()
        if not is_named:
            self.write(tmp_path, SILENT, mounts=[bind("/etc/hosts", "hosts")])
            return
        with pytest.raises(CniError, match=r"mountinfo does not show where .* is$"):
            self.write(tmp_path, SILENT, hosts="hosts")
        assert (tmp_path / "hosts").read_text() == ""

    @pytest.mark.parametrize("source", ["rootfs/hosts", "fifo", "hard"])
    def test_what_is_mounted_is_looked_at_too(self, tmp_path: Path, source: str) -> None:
        (tmp_path / "rootfs").mkdir()
        (tmp_path / "rootfs/hosts").touch()
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "other").touch()
        os.link(tmp_path / "other", tmp_path / "hard")
        with pytest.raises(CniError, match=r"or the host|not a regular file|other names"):
            self.write(tmp_path, SILENT, mounts=[bind("/etc/hosts", source)], root={"path": "rootfs"})

    @pytest.mark.parametrize(
        "hostname", ["a\n192.0.2.1\tbank.test", "a b", "a\tb", "a#", "\ud800", "x" * 254]
    )
    def test_a_hostname_is_one_word(self, tmp_path: Path, hostname: str) -> None:
        with pytest.raises(CniError, match="is not a valid host name"):
            self.write(tmp_path, SILENT, hosts="hosts", hostname=hostname)
        assert (tmp_path / "hosts").read_text() == ""

    @pytest.mark.parametrize(
        "dns", [{"nameservers": ["192.0.2.1\nsearch evil.test"]}, {"search": ["a b"]}, {"domain": "a\n"}]
    )
    def test_what_plugins_say_is_one_word(self, dns: dict[str, object]) -> None:
        with pytest.raises(CniError, match="not a single word"):
            calc_resolv_conf([{"dns": dns}])

    def test_an_endless_file_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "hosts").open("w") as file:
            file.truncate(1 << 40)
        with pytest.raises(CniError, match="more than"):
            self.write(tmp_path, SILENT, hosts="hosts")

    def test_several_networks_are_merged(self) -> None:
        other: dict[str, object] = {"dns": {"nameservers": ["10.2.0.1", "10.0.0.1"], "domain": "b.test"}}
        assert calc_resolv_conf([RESULT, SILENT, other]).splitlines()[:3] == [
            "nameserver 10.0.0.1",
            "nameserver 10.2.0.1",
            "domain a.test",
        ]

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("search x\nnameserver 192.0.2.1\n", "", "search x\nnameserver 192.0.2.1\n"),
            ("nameserver\t127.0.0.53\noptions x\n", "nameserver 192.0.2.2\n", "nameserver 192.0.2.2\n"),
            ("nameserver ::1\nnameserver\t192.0.2.1\n", "", "nameserver\t192.0.2.1\n"),
            ("nameserver 127.0.0.1\n", "", ""),
        ],
    )
    def test_servers_that_only_the_host_reaches_are_left_out(
        self, tmp_path: Path, first: str, second: str, expected: str
    ) -> None:
        (tmp_path / "one").write_text(first)
        (tmp_path / "two").write_text(second)
        assert calc_host_resolv_conf((str(tmp_path / "one"), str(tmp_path / "two"))) == expected


class TestSentence:
    def call(self, stdin: bytes, *argv: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        stderr = StringIO()
        return run(argv, env or {}, BytesIO(stdin), stderr), stderr.getvalue()

    def test_is_one_line(self) -> None:
        assert self.call(b"", "--no\npe") == (
            1,
            'shibafu-hook: unknown flag "--no pe" (shibafu-hook --help lists the flags)\n',
        )

    def test_tells_of_a_defect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(document: bytes) -> None:
            raise LookupError("x")

        monkeypatch.setattr("shibafu.hook.container.parse_state", fail)
        status, text = self.call(b"{}")
        assert status == 1
        assert text.startswith("shibafu-hook: internal error, please report it: LookupError: x (")
        assert text.count("\n") == 1

    def test_help(self) -> None:
        status, text = self.call(b"", "--help")
        assert status == 0
        for key in ("--network", "--ip", "--mac", "--ports", "--bandwidth", "--resolv-conf", "--hosts"):
            assert key in text
