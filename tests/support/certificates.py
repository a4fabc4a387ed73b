"""Certificates for servers on 127.0.0.1, made by openssl, in PEM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def missing() -> str | None:
    """What is lacking here; None where certificates can be made."""
    return None if shutil.which("openssl") else "openssl"


class Authority:
    """Who signs certificates, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        """For those who are to trust it."""
        self._key = folder / "ca.key"
        files = ("-keyout", str(self._key), "-out", str(self.certificate))
        _run("req", "-x509", *_KEY, "-nodes", "-days", "2", "-subj", f"/CN={folder.name}", *files)

    def sign(self, name: str, passphrase: str = "") -> tuple[Path, Path]:
        """A new certificate and its key, for a name of somebody and the address 127.0.0.1."""
        key, request, certificate, extension = (
            self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "ext")
        )
        extension.write_text("subjectAltName=IP:127.0.0.1")
        cipher = ("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)
        _run("req", *_KEY, *cipher, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        by = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        _run("x509", "-req", "-in", request, *by, "-extfile", extension, "-out", certificate)
        return certificate, key


def _run(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


__all__ = ["Authority", "missing"]
