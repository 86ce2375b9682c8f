"""etcd through its JSON gateway: several endpoints, passwords, certificates, and errors in words.

Requests are sent by etcd3gw, one of its clients for each endpoint. What it lacks is here: the next endpoint
where one fails, user and password, and the header of answers. In the gateway's JSON keys and values are in
base64, 64-bit integers are texts, and what is zero or empty is absent.

A client is used by one thread at a time.
"""

import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from etcd3gw import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from requests.adapters import HTTPAdapter

from shibafu.lean.files import read_file
from shibafu.overlay.config import EtcdAccess
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd_failures import EtcdUnavailableError, Failing, read_refusal
from shibafu.overlay.name_lookups import NameLookups
from shibafu.overlay.stored import LeaseTime, StoredValue, StoreListing

# Seconds for a connection, and for an answer.
_CONNECT, _ANSWER = 2.0, 5.0
_MAX_PASSWORD = 4096
# A code of gRPC: the token has expired.
_UNAUTHENTICATED = 16
# Where the other end is silent, that is noticed after 11 s, whether something is being sent or not (tcp(7)).
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 11_000),
]


class EtcdClient:
    """A client of one cluster.

    Args:
        access: its endpoints, and how to be let in.
        names: lookups of the endpoints' names, of which other clients make use, too.
    """

    def __init__(self, access: EtcdAccess, names: NameLookups | None = None) -> None:
        self._access = access
        self._names = names or make_lookups(access)
        self._clients = [_make_client(endpoint, access) for endpoint in access.endpoints]
        self._current = 0

    def copy(self) -> "EtcdClient":
        """Return a client of the same cluster, for another thread."""
        client = EtcdClient(self._access, self._names)
        client._current = self._current
        return client

    @property
    def endpoint(self) -> str:
        """The endpoint that the next request goes to first."""
        return self._access.endpoints[self._current]

    def rotate(self) -> None:
        """Prefer the next endpoint from now on."""
        self._current = (self._current + 1) % len(self._clients)

    def list_prefix(self, prefix: str) -> StoreListing:
        """Return all keys that begin with a text.

        Raises:
            EtcdError: etcd refuses that, or cannot be reached.
        """
        answer = self.call(
            "kv/range", {"key": encode_value(prefix), "range_end": encode_value(calc_range_end(prefix))}
        )
        return _parse_listing(answer)

    def get(self, key: str, revision: int = 0) -> StoredValue | None:
        """Return what is under a key; None for nothing.

        Args:
            key: the key.
            revision: of which the answer is to be; 0 for the present one.

        Raises:
            EtcdError: see `list_prefix`; or etcd does not know the revision, any more or yet.
        """
        answer = self.call("kv/range", {"key": encode_value(key), "revision": revision})
        values = _parse_listing(answer).values
        return values[0] if values else None

    def transact(self, compare: Sequence[object], success: Sequence[object]) -> bool:
        """Do something if all conditions are met; return whether they were.

        Args:
            compare: conditions, as of the gateway's `Compare`.
            success: what to do, as of its `RequestOp`.

        Raises:
            EtcdError: see `list_prefix`.
        """
        answer = self.call("kv/txn", {"compare": list(compare), "success": list(success), "failure": []})
        return bool(answer.get("succeeded", False))

    def delete(self, key: str) -> bool:
        """Delete a key; return whether there was one.

        Raises:
            EtcdError: see `list_prefix`.
        """
        return "deleted" in self.call("kv/deleterange", {"key": encode_value(key)})

    def grant_lease(self, seconds: int) -> int:
        """Return the number of a new lease.

        Raises:
            EtcdError: see `list_prefix`.
        """
        return int(self.call("lease/grant", {"TTL": seconds, "ID": 0})["ID"])

    def keep_alive(self, lease: int) -> int:
        """Renew a lease; return how many seconds it has, 0 where there is none any more.

        Raises:
            EtcdError: see `list_prefix`.
        """
        return int(self.call("lease/keepalive", {"ID": lease}).get("result", {}).get("TTL", 0))

    def ask_lease_time(self, lease: int) -> LeaseTime | None:
        """Return how long ago a lease was renewed, and how long it lasts; None where there is none any more.

        Raises:
            EtcdError: see `list_prefix`.
        """
        answer = self.call("lease/timetolive", {"ID": lease})
        left = int(answer.get("TTL", 0))
        return None if left < 0 else LeaseTime(int(answer.get("grantedTTL", 0)) - left, left)

    def revoke_lease(self, lease: int) -> None:
        """End a lease, and with it the keys that go with it.

        Raises:
            EtcdError: see `list_prefix`.
        """
        self.call("lease/revoke", {"ID": lease})

    def ask_time(self) -> float | None:
        """Return the time of the current endpoint's clock, in seconds since 1970, cut off to whole ones.

        It is the header Date of an answer (RFC 9110); None where a proxy has removed it.

        Raises:
            EtcdUnavailableError: the endpoint does not answer.
        """
        client = self._require_client()
        with Failing(self.endpoint):
            response = client.session.get(f"{self.endpoint}/version", timeout=(_CONNECT, _ANSWER))
            date = response.headers.get("Date", "")
            return parsedate_to_datetime(date).timestamp() if date else None

    def call(self, path: str, payload: object) -> dict[str, Any]:
        """Send a request to the first endpoint that answers, and return the answer.

        Args:
            path: of the gateway, such as `kv/range`.
            payload: the request, as JSON has it.

        Raises:
            EtcdUnavailableError: none answers.
            EtcdError: etcd refuses the request.
        """
        failure: EtcdUnavailableError | None = None
        for _ in self._clients:
            try:
                return self._call_current(path, payload)
            except EtcdUnavailableError as error:
                failure = error
                self._names.forget(self._clients[self._current].host)
                self.rotate()
        assert failure is not None  # noqa: S101 - there is at least one endpoint
        raise failure

    def open_stream(self, path: str, payload: dict[str, Any]) -> Iterator[bytes]:
        """Send a request whose answer does not end to the current endpoint; return the answer's parts.

        Raises:
            EtcdUnavailableError: the endpoint does not answer; later, that the stream is broken.
            EtcdError: etcd refuses the request.
        """
        client = self._require_client()
        with Failing(self.endpoint):
            self._authenticate_once(client)
            # A member without a leader would keep the stream open and say nothing.
            response = client.session.post(
                client.get_url(path),
                json=payload,
                stream=True,
                timeout=(_CONNECT, None),
                headers={"Grpc-Metadata-hasleader": "true"},
            )
            if response.status_code != requests.codes["ok"]:
                raise Etcd3Exception(response.text, response.reason)
        return self._read_stream(response)

    def _read_stream(self, response: requests.Response) -> Iterator[bytes]:
        with response, Failing(self.endpoint):
            yield from response.iter_content(None)
        raise EtcdUnavailableError(f"etcd at {self.endpoint} has ended a watch")

    def _require_client(self) -> Etcd3Client:
        """Return the client of the current endpoint, whose name leads somewhere.

        Raises:
            EtcdUnavailableError: it does not.
        """
        client = self._clients[self._current]
        failure = self._names.find_failure(client.host)
        if failure:
            raise EtcdUnavailableError(
                f"etcd at {self.endpoint} cannot be reached: {failure}",
                "correct the name, or see whether the servers in /etc/resolv.conf answer",
            )
        return client

    def _call_current(self, path: str, payload: object) -> dict[str, Any]:
        client = self._require_client()
        with Failing(self.endpoint):
            self._authenticate_once(client)
            try:
                return _post(client, path, payload)
            except Etcd3Exception as error:
                if not self._access.username or not _wants_token(error):
                    raise
            client.session.headers.pop("Authorization", None)
            self._authenticate_once(client)
            return _post(client, path, payload)

    def _authenticate_once(self, client: Etcd3Client) -> None:
        """Get a token for the session, unless it has one or needs none."""
        access = self._access
        if not access.username or "Authorization" in client.session.headers:
            return
        content = read_file(access.password_file, _MAX_PASSWORD, follow=True)
        if content is None:
            raise OverlayError(f"{access.password_file}, which passwordFile names, does not exist")
        password = content.decode("utf-8", "replace").rstrip("\r\n")
        try:
            answer = _post(client, "auth/authenticate", {"name": access.username, "password": password})
        except Etcd3Exception as error:
            if "authentication is not enabled" in read_refusal(error)[0]:
                return  # it will be, once all hosts have a password
            raise
        client.session.headers["Authorization"] = str(answer["token"])


def make_lookups(access: EtcdAccess) -> NameLookups:
    """Return lookups of the names in a cluster's endpoints."""
    return NameLookups(str(urlsplit(endpoint).hostname) for endpoint in access.endpoints)


def encode_value(text: str | bytes) -> str:
    """Return a key or a value as the gateway takes it."""
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


def decode_value(text: str) -> bytes:
    """Return a key or a value out of an answer."""
    return b64decode(text)


def calc_range_end(prefix: str) -> bytes:
    """Return the first key after all that begin with a text, which is ASCII."""
    return (prefix[:-1] + chr(ord(prefix[-1]) + 1)).encode()


def _make_client(endpoint: str, access: EtcdAccess) -> Etcd3Client:
    parts = urlsplit(endpoint)
    session = requests.Session()
    # No proxies of the environment, and no ~/.netrc.
    session.trust_env = False
    session.mount(f"{parts.scheme}://", _Adapter())
    for path in filter(None, (access.cafile, access.certfile, access.keyfile)):
        with open(path, "rb"):  # requests' own error does not name it
            pass
    system = ssl.get_default_verify_paths()
    # Not those that requests brings along: an administrator may have added one.
    session.verify = access.cafile or system.cafile or system.capath or True
    if access.certfile:
        session.cert = (access.certfile, access.keyfile)
    client = Etcd3Client(
        str(parts.hostname), int(parts.port or 0), parts.scheme, api_path="/v3/", session=session
    )
    # etcd3gw passes it to requests, which tells both apart.
    client.timeout = (_CONNECT, _ANSWER)  # type: ignore[assignment]
    return client


class _Adapter(HTTPAdapter):
    """Connections that notice when the other end is silent."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, socket_options=_SOCKET_OPTIONS)


def _post(client: Etcd3Client, path: str, payload: object) -> dict[str, Any]:
    answer = client.post(client.get_url(path), json=payload)
    if not isinstance(answer, dict):
        raise EtcdUnavailableError("etcd's answer is not an object")
    return answer


def _parse_listing(answer: dict[str, Any]) -> StoreListing:
    header = answer.get("header", {})
    values = tuple(
        StoredValue(
            decode_value(entry["key"]).decode("utf-8", "replace"),
            decode_value(entry.get("value", "")),
            int(entry.get("lease", 0)),
            int(entry["mod_revision"]),
        )
        for entry in answer.get("kvs", ())
    )
    return StoreListing(values, int(header.get("revision", 0)), str(header.get("cluster_id", "")))


def _wants_token(error: Etcd3Exception) -> bool:
    """Return whether a request was refused because its token has expired, or because it has none."""
    message, code = read_refusal(error)
    return code == _UNAUTHENTICATED or any(
        said in message for said in ("revision of auth store is old", "user name is empty")
    )
