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
_PROTOCOLS = {"http": "plain HTTP", "https": "TLS"}
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h).
_OF_TIME = (9, 10)


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
            scheme = find_spoken_scheme(self._endpoint) if _is_cut_off(error) else ""
            if scheme:
                stated, rest = self._endpoint.split(":", 1)
                raise EtcdUnavailableError(
                    f"etcd at {self._endpoint} speaks {_PROTOCOLS[scheme]}, not {_PROTOCOLS[stated]}",
                    f"write {scheme}:{rest} instead",
                ) from None
            text, hint = _describe_cause(error)
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
        is_of_time = error.verify_code in _OF_TIME
        hint = (
            "see whether this host's clock is right, and until when the certificate is valid"
            if is_of_time
            else ""
        )
        return error.verify_message.lower(), hint
    if isinstance(error, OSError):
        return str(error.strerror or error).lower(), ""
    return str(error), ""


def _find_cause(error: BaseException) -> BaseException:
    """Return the innermost reason, which requests wraps several times."""
    reason: BaseException | None = error
    while reason is not None:
        error, reason = reason, reason.__cause__ or reason.__context__
    return error
