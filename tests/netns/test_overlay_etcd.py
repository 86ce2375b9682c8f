"""The client of etcd, with an etcd of Debian."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from shibafu.overlay.config import EtcdAccess
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient, encode_value
from shibafu.overlay.etcd_failures import EtcdError, EtcdUnavailableError
from shibafu.overlay.etcd_watch import Change, Changes, HistoryLostError, require_change, watch_prefix
from shibafu.overlay.stored import StoredValue
from support.certificates import Authority
from support.etcd import EtcdServer
from support.namespaces import Namespace


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("etcd") as namespace, namespace.enter():
        yield namespace


@pytest.fixture
def etcd(host: Namespace) -> Iterator[EtcdServer]:
    with EtcdServer(host) as server:
        yield server


@pytest.fixture
def client(etcd: EtcdServer) -> EtcdClient:
    return EtcdClient(etcd.access)


def start_watch(client: EtcdClient, prefix: str = "/a/") -> Iterator[Changes]:
    """Return a watch that has begun."""
    listing = client.list_prefix(prefix)
    watch = watch_prefix(client, prefix, listing.revision, listing.cluster)
    assert next(watch).values == {}
    return watch


def test_keys_and_leases(etcd: EtcdServer, client: EtcdClient) -> None:
    lease = client.grant_lease(60)
    put = {"request_put": {"key": encode_value("/a/1"), "value": encode_value("one"), "lease": lease}}
    is_absent = {"key": encode_value("/a/1"), "target": "VERSION", "result": "EQUAL", "version": 0}
    assert client.transact([is_absent], [put])
    assert not client.transact([is_absent], [put])
    stored = StoredValue("/a/1", b"one", lease, etcd.read_revision())
    etcd.ctl("put", "/b", "other")
    assert client.list_prefix("/a/").values == (stored,)
    assert client.get("/a/1") == stored
    assert client.get("/a/2") is None
    assert client.keep_alive(lease) == 60
    time_of_lease = client.ask_lease_time(lease)
    assert time_of_lease is not None
    assert time_of_lease.age in (0, 1)
    assert (client.delete("/a/1"), client.delete("/a/1")) == (True, False)
    client.revoke_lease(lease)
    assert client.keep_alive(lease) == 0
    assert client.ask_lease_time(lease) is None


def test_watch_tells_what_has_changed(etcd: EtcdServer, client: EtcdClient) -> None:
    watch = start_watch(client)
    etcd.ctl("put", "/a/1", "one")
    assert next(watch).values == {"/a/1": b"one"}
    etcd.ctl("put", "/b", "other")
    etcd.ctl("del", "/a/1")
    changes = next(watch)
    assert changes.values == {"/a/1": None}
    assert changes.last == Change("/a/1", client.list_prefix("/a/").revision, is_deletion=True)


def test_watch_begins_where_the_last_one_ended(etcd: EtcdServer, client: EtcdClient) -> None:
    listing = client.list_prefix("/a/")
    for value in ("one", "two"):
        etcd.ctl("put", "/a/1", value)
    watch = watch_prefix(client, "/a/", listing.revision, listing.cluster)
    changes = next(change for change in watch if change.values)
    assert changes.values == {"/a/1": b"two"}


def test_watch_ends_with_the_member(etcd: EtcdServer, client: EtcdClient) -> None:
    watch = start_watch(client)
    etcd.stop()
    with pytest.raises(EtcdUnavailableError):
        next(watch)
    etcd.start()
    assert client.list_prefix("/a/").values == ()


def test_compacted_history_is_lost(etcd: EtcdServer, client: EtcdClient) -> None:
    listing = client.list_prefix("/a/")
    for value in ("one", "two", "three"):
        etcd.ctl("put", "/a/1", value)
    etcd.ctl("compact", str(etcd.read_revision()))
    with pytest.raises(HistoryLostError) as caught:
        list(watch_prefix(client, "/a/", listing.revision, listing.cluster))
    assert not caught.value.is_restored


def test_a_restored_store_is_another_one(etcd: EtcdServer, client: EtcdClient) -> None:
    """Its revisions are lower: a watch would wait until it has caught up, and miss all until then."""
    etcd.ctl("put", "/a/1", "one")
    listing = client.list_prefix("/a/")
    etcd.stop()
    etcd.forget()
    etcd.start()
    with pytest.raises(HistoryLostError) as caught:
        list(watch_prefix(client, "/a/", listing.revision, listing.cluster))
    assert caught.value.is_restored


@pytest.mark.parametrize("last", ["put", "del"])
def test_a_restored_store_that_others_have_written_to(
    etcd: EtcdServer, client: EtcdClient, last: str
) -> None:
    """Its revision is as high as the last one that is known, or higher."""
    etcd.ctl("put", "/a/1", "one")
    backup = etcd.save()
    watch = start_watch(client)
    etcd.ctl("put", "/a/1", "two")
    known = next(watch).last
    if last == "del":
        etcd.ctl("del", "/a/1")
        known = next(watch).last
    assert known is not None
    require_change(client, known)
    etcd.stop()
    etcd.restore(backup)
    etcd.start()
    for _ in range(2):
        with pytest.raises(HistoryLostError) as caught:
            require_change(client, known)
        assert caught.value.is_restored
        for _ in range(3):
            etcd.ctl("put", "/b", "other")
    etcd.ctl("compact", str(etcd.read_revision()))
    with pytest.raises(HistoryLostError) as caught:
        require_change(client, known)
    assert not caught.value.is_restored


def test_next_endpoint_where_one_fails(etcd: EtcdServer) -> None:
    client = EtcdClient(EtcdAccess(("http://127.0.0.1:9", etcd.url)))
    assert client.list_prefix("/a/").values == ()
    assert client.endpoint == etcd.url


def test_nobody_there(host: Namespace) -> None:
    with pytest.raises(EtcdUnavailableError) as caught:
        EtcdClient(EtcdAccess(("http://127.0.0.1:9",))).get("/a")
    assert caught.value.message == "etcd at http://127.0.0.1:9 cannot be reached: connection refused"
    assert "have it listen on that address" in caught.value.hint


def ask_in_other_scheme(etcd: EtcdServer) -> tuple[str, str]:
    """Return what is said of an endpoint that has http for https, or the other way round, and the advice."""
    scheme, rest = etcd.url.split(":", 1)
    other = "http" if scheme == "https" else "https"
    with pytest.raises(EtcdUnavailableError) as caught:
        EtcdClient(EtcdAccess((f"{other}:{rest}",))).get("/a")
    return caught.value.message, caught.value.hint


def test_tls_for_an_etcd_that_speaks_none(etcd: EtcdServer) -> None:
    assert ask_in_other_scheme(etcd) == (
        "etcd at https://127.0.0.1:2379 speaks plain HTTP, not TLS",
        "write http://127.0.0.1:2379 instead",
    )


@pytest.mark.parametrize("options", [(), ("--client-cert-auth",)])
def test_no_tls_for_an_etcd_that_speaks_it(host: Namespace, tmp_path: Path, options: tuple[str, ...]) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "/CN=etcd")
    files = ("--cert-file", certificate, "--key-file", key, "--trusted-ca-file", authority.certificate)
    with EtcdServer(host, *map(str, files), *options, scheme="https") as etcd:
        assert ask_in_other_scheme(etcd) == (
            "etcd at http://127.0.0.1:2379 speaks TLS, not plain HTTP",
            "write https://127.0.0.1:2379 instead",
        )
        # Certificates have failures of their own.
        with pytest.raises(EtcdUnavailableError, match="certificate"):
            EtcdClient(etcd.access).get("/a")


def test_a_member_that_ends_connections(host: Namespace) -> None:
    """It speaks neither."""
    with socket.create_server(("127.0.0.1", 2379)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    listener.accept()[0].close()

        is_over, server = Event(), Thread(target=serve)
        server.start()
        try:
            for scheme in ("http", "https"):
                with pytest.raises(EtcdUnavailableError, match="cannot be reached"):
                    EtcdClient(EtcdAccess((f"{scheme}://127.0.0.1:2379",))).get("/a")
        finally:
            is_over.set()
            server.join()


def test_passwords(etcd: EtcdServer, tmp_path: Path) -> None:
    etcd.require_passwords("/a/")
    password = tmp_path / "password"
    password.write_text("azure\n")
    access = replace(etcd.access, username="blue", password_file=str(password))
    client = EtcdClient(access)
    watch = start_watch(client)
    etcd.ctl("--user", "root:secret", "put", "/a/1", "one")
    assert next(watch).values == {"/a/1": b"one"}
    # It does not know the token any more.
    etcd.stop()
    etcd.start()
    assert client.list_prefix("/a/").values
    with pytest.raises(EtcdError) as caught:
        client.get("/b")
    assert caught.value.hint == "the user needs a role with readwrite permission for the prefix"
    password.write_text("red")
    with pytest.raises(EtcdError) as caught:
        EtcdClient(access).get("/a/1")
    assert caught.value.hint == "look at username and passwordFile"
    with pytest.raises(EtcdError) as caught:
        EtcdClient(etcd.access).get("/a/1")
    assert caught.value.hint == "etcd requires a password: set username and passwordFile"
    password.unlink()
    with pytest.raises(OverlayError, match="which passwordFile names, does not exist"):
        EtcdClient(access).get("/a/1")


def test_passwords_are_set_before_etcd_wants_them(etcd: EtcdServer, tmp_path: Path) -> None:
    """So that hosts can get theirs one after the other; an agent goes on when it is enabled."""
    password = tmp_path / "password"
    password.write_text("azure")
    client = EtcdClient(replace(etcd.access, username="blue", password_file=str(password)))
    etcd.ctl("put", "/a/1", "one")
    assert client.list_prefix("/a/").values
    etcd.require_passwords("/a/")
    assert client.list_prefix("/a/").values
    etcd.ctl("--user", "root:secret", "auth", "disable")
    assert client.list_prefix("/a/").values


def test_certificates(host: Namespace, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "/CN=etcd")
    named, nameless = authority.issue("named", "/CN=blue"), authority.issue("nameless", "/O=shibafu")
    options = ("--cert-file", certificate, "--key-file", key, "--trusted-ca-file", authority.certificate)
    with EtcdServer(host, *map(str, options), "--client-cert-auth", scheme="https") as etcd:
        root = EtcdAccess((etcd.url,), str(authority.certificate), *map(str, named))
        admin = f"--cacert={authority.certificate}", f"--cert={nameless[0]}", f"--key={nameless[1]}"
        etcd.ctl(*admin, "put", "/a/1", "one")
        client = EtcdClient(replace(root, certfile=str(nameless[0]), keyfile=str(nameless[1])))
        assert [value.value for value in client.list_prefix("/a/").values] == [b"one"]
        with pytest.raises(EtcdError, match="certificate") as unknown:
            EtcdClient(replace(root, cafile="")).get("/a/1")
        assert unknown.value.hint == "set cafile to the certificate of the authority that has signed etcd's"
        with pytest.raises(EtcdUnavailableError, match="cannot be reached") as required:
            EtcdClient(replace(root, certfile="", keyfile="")).get("/a/1")
        assert "set certfile and keyfile" in required.value.hint
        with pytest.raises(EtcdUnavailableError, match="mismatch") as other:
            EtcdClient(replace(root, endpoints=(etcd.url.replace("127.0.0.1", "localhost"),))).get("/a/1")
        assert "that etcd's certificate is for" in other.value.hint
        with pytest.raises(FileNotFoundError, match=r"absent\.pem"):
            EtcdClient(replace(root, cafile=str(tmp_path / "absent.pem")))
        etcd.ctl(*admin, "user", "add", "root:secret")
        etcd.ctl(*admin, "user", "grant-role", "root", "root")
        etcd.ctl(*admin, "auth", "enable")
        with pytest.raises(EtcdError) as caught:
            EtcdClient(root).get("/a/1")
        assert "must not have a CN" in caught.value.hint
        password = tmp_path / "password"
        password.write_text("secret")
        both = replace(
            root,
            certfile=str(nameless[0]),
            keyfile=str(nameless[1]),
            username="root",
            password_file=str(password),
        )
        assert EtcdClient(both).get("/a/1") is not None
