"""What an app has of its own for TLS: authorities that it trusts besides the public ones, and a client certificate."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pycurl


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """Text in PEM; blank where there is none. `owner` keeps one app's connections from another's.

    libcurl takes them from memory: a key is in no file and in no argument.
    """

    owner: str
    authorities: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)

    @property
    def sends_certificate(self) -> bool:
        return bool(self.certificate)

    def apply(self, easy: pycurl.Curl, *, ca_file: str) -> None:
        """Sets a new handle up. `ca_file` has the public authorities."""
        if self.authorities:
            public = Path(ca_file)
            bundle = _bundle(public, public.stat().st_mtime_ns, self.authorities)
            easy.setopt(pycurl.CAINFO_BLOB, bundle)  # in place of CAINFO
        if self.certificate:
            easy.setopt(pycurl.SSLCERT_BLOB, self.certificate.encode())
            easy.setopt(pycurl.SSLKEY_BLOB, self.key.encode())


@lru_cache(maxsize=32)
def _bundle(public: Path, changed_at: int, authorities: str) -> bytes:
    return b"\n".join((public.read_bytes(), authorities.encode(), b""))
