"""Certificates for tests, made by openssl(1)."""

import subprocess
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Authority:
    """An authority that signs certificates.

    Args:
        directory: where its files are made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca-key.pem"
        _openssl("req", "-x509", *_CURVE, "-keyout", self._key, "-out", self.certificate, "-subj", "/CN=test")

    def issue(self, name: str, subject: str) -> tuple[Path, Path]:
        """Return a certificate for 127.0.0.1, for servers and clients alike, and its key."""
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        _openssl(
            *("req", "-x509", *_CURVE, "-CA", self.certificate, "-CAkey", self._key, "-subj", subject),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "extendedKeyUsage=serverAuth,clientAuth", "-keyout", key, "-out", certificate),
        )
        return certificate, key

    def expire(self, certificate: Path, key: Path) -> None:
        """Issue a certificate again, valid until yesterday: so it seems to a host whose clock is ahead."""
        request = self._directory / "request.pem"
        copied = ("-copy_extensions", "copyall")
        _openssl("x509", "-x509toreq", "-in", certificate, "-signkey", key, *copied, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, *copied),
            *("-days", "-1", "-out", certificate),
        )


def _openssl(*argv: str | Path) -> None:
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
