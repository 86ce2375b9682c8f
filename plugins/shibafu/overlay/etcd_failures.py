"""How etcd fails, in words: what its JSON gateway, etcd3gw and requests say."""

import json
import ssl
from http.client import RemoteDisconnected

import requests
from etcd3gw.exceptions import ConnectionFailedError, ConnectionTimeoutError, Etcd3Exception

from shibafu.overlay.endpoint_scheme import find_spoken_scheme
from shibafu.overlay.errors import OverlayError

# Codes of gRPC: the member is overloaded; the user may not do that; the member has no leader.
_DEADLINE, _PERMISSION, _UNAVAILABLE = 4, 7, 14
# Debian's etcd listens on the loopback interface only, unless told otherwise.
UNREACHED_HINT = (
    "start etcd there, have it listen on that address (listen-client-urls) and let the port pass, or correct"
    " endpoints"
)
_PROTOCOLS = {"http": "plain HTTP", "https": "TLS"}
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED; X509_V_ERR_HOSTNAME_MISMATCH and
# X509_V_ERR_IP_ADDRESS_MISMATCH (openssl/x509_vfy.h).
_OF_TIME, _OF_NAME = (9, 10), (62, 64)


class EtcdError(OverlayError):
    """etcd refuses a request."""


class EtcdUnavailableError(EtcdError):
    """No endpoint answers; trying again later helps."""


class Failing:
    """Turns what etcd3gw and requests raise into errors in words.

    Args:
        endpoint: who is asked.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, OverlayError):
            return
        if isinstance(error, Etcd3Exception) and not isinstance(
            error, ConnectionFailedError | ConnectionTimeoutError
        ):
            raise _describe_refusal(error, self._endpoint) from None
        if isinstance(error, Etcd3Exception | requests.RequestException | OSError | ValueError):
            is_cut_off = _is_cut_off(error)
            scheme = find_spoken_scheme(self._endpoint) if is_cut_off else ""
            if scheme:
                stated, rest = self._endpoint.split(":", 1)
                raise EtcdUnavailableError(
                    f"etcd at {self._endpoint} speaks {_PROTOCOLS[scheme]}, not {_PROTOCOLS[stated]}",
                    f"write {scheme}:{rest} instead",
                ) from None
            text, hint = _describe_cause(error)
            if is_cut_off and self._endpoint.startswith("https:"):
                # With an alert or, as the handshake is over for this host by then, without.
                hint = "if etcd wants certificates of its clients, set certfile and keyfile"
            raise EtcdUnavailableError(f"etcd at {self._endpoint} cannot be reached: {text}", hint) from None


def read_refusal(error: Etcd3Exception) -> tuple[str, int]:
    """Return etcd's own sentence and its code of gRPC."""
    detail = error.detail_text or ""
    try:
        answer = json.loads(detail)
        # The gateway of a stream puts it one level deeper.
        answer = answer["error"] if isinstance(answer.get("error"), dict) else answer
        code = answer.get("code", answer.get("grpc_code", 0))
        return str(answer.get("message") or answer.get("error")), int(code)
    except (ValueError, LookupError, TypeError, AttributeError):
        return detail.strip() or str(error), 0


def _describe_refusal(error: Etcd3Exception, endpoint: str) -> EtcdError:
    message, code = read_refusal(error)
    if code in (_DEADLINE, _UNAVAILABLE) or "no leader" in message:
        return EtcdUnavailableError(f"etcd at {endpoint} is not available: {message}")
    hint = ""
    if "CommonName" in message:
        hint = "a certificate that is used with a password must not have a CN: make one for /O=shibafu"
    elif "user name is empty" in message:
        hint = "etcd requires a password: set username and passwordFile"
    elif "authentication failed" in message:
        hint = "look at username and passwordFile"
    elif code == _PERMISSION:
        hint = "the user needs a role with readwrite permission for the prefix"
    return EtcdError(f"etcd at {endpoint} refuses a request: {message}", hint)


def _is_cut_off(error: BaseException) -> bool:
    """Return whether a connection was ended without an answer, as where another protocol is spoken."""
    cause = _find_cause(error)
    if isinstance(cause, ssl.SSLError):
        return not isinstance(cause, ssl.SSLCertVerificationError)
    return isinstance(cause, RemoteDisconnected | ConnectionResetError)


def _describe_cause(error: BaseException) -> tuple[str, str]:
    """Return the innermost reason, and what to do about it."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "it has ended the connection", ""
    error = _find_cause(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.lower(), _advise_on_certificate(error.verify_code)
    if isinstance(error, OSError):
        return str(error.strerror or error).lower(), UNREACHED_HINT
    return str(error), ""


def _advise_on_certificate(code: int) -> str:
    if code in _OF_TIME:
        return "see whether this host's clock is right, and until when the certificate is valid"
    if code in _OF_NAME:
        return "write the endpoint with a name or an address that etcd's certificate is for"
    return "set cafile to the certificate of the authority that has signed etcd's"


def _find_cause(error: BaseException) -> BaseException:
    """Return the innermost reason, which requests wraps several times, and urllib3 as an argument."""
    while True:
        wrapped = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        reason = error.__cause__ or error.__context__ or wrapped
        if reason is None:
            return error
        error = reason
