"""Private keys for ssh, checked when they are given: what ssh would only say by `Permission denied`."""

import base64
import re
import struct
import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from syncsvc.exceptions import InvalidCredentialError

_PUBLIC = re.compile(r"(?:ssh-\S+|ecdsa-sha2-\S+|sk-\S+) AAAA|---- BEGIN SSH2 PUBLIC KEY|-----BEGIN [A-Z ]*PUBLIC KEY")
_FRAME = re.compile(r"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----\n(.+)\n-----END \1PRIVATE KEY-----", re.DOTALL)
_MAGIC = b"openssh-key-v1\0"
_SHORTEST_RSA = 1024  # OpenSSH's RequiredRSASize

_IS_PUBLIC = "This is a public key; give the private key that belongs to it, from the file without .pub."
_IS_PUTTY = (
    "This is a key in PuTTY's format (.ppk), which ssh cannot read; `puttygen KEY.ppk -O private-openssh -o KEY`"
    " writes it in OpenSSH's."
)
_IS_ENCRYPTED = (
    "The key is encrypted with a passphrase, and nobody is there to type it; `ssh-keygen -p -N '' -f KEY` takes it off"
    " (make a key of its own for this repository)."
)
_IS_NO_KEY = (
    "This is no private key; give the text from -----BEGIN … PRIVATE KEY----- to -----END … PRIVATE KEY-----, with its"
    " line ends."
)
_IS_DAMAGED = "The private key is damaged or incomplete; give the whole file as ssh-keygen wrote it."
_IS_HARDWARE = "The key needs a security key (FIDO) that somebody touches; give an Ed25519 key, made by ssh-keygen."
_IS_TOO_WEAK = "Keys of this kind ({kind}) are refused by ssh and by hosts as unsafe; give an Ed25519 key."


def check_private_key(text: str) -> str:
    """The key as it is stored; InvalidCredentialError says what was given instead. The text itself is in no message."""
    key = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if key.startswith("PuTTY-User-Key-File-"):
        raise InvalidCredentialError(_IS_PUTTY)
    if _PUBLIC.match(key):
        raise InvalidCredentialError(_IS_PUBLIC)
    frame = _FRAME.fullmatch(key)
    if not frame:
        raise InvalidCredentialError(_IS_NO_KEY)
    kind = frame[1].strip()
    if kind == "ENCRYPTED" or "ENCRYPTED" in frame[2].split("\n\n")[0]:
        raise InvalidCredentialError(_IS_ENCRYPTED)
    if kind == "DSA":
        raise InvalidCredentialError(_IS_TOO_WEAK.format(kind="DSA"))
    if kind == "OPENSSH":
        _check_openssh(frame[2])
    loaded = _load(key, kind)
    # OpenSSH before 9.6 reads no Ed25519 key in the form that OpenSSL writes.
    return _as_openssh(loaded) if not kind and isinstance(loaded, ed25519.Ed25519PrivateKey) else key


def is_rsa(key: str) -> bool:
    """Of a key that was checked."""
    frame = _FRAME.fullmatch(key)
    return frame is not None and isinstance(_load(key, frame[1].strip()), rsa.RSAPrivateKey)


def _check_openssh(body: str) -> None:
    """By the frame of PROTOCOL.key: the cipher, and the kind of the public key that stands before the private one."""
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
        cipher, rest = _string(data.removeprefix(_MAGIC))
        for _ in ("kdf", "its options"):
            _, rest = _string(rest)
        public, _ = _string(rest[4:])
        kind = _string(public)[0].decode("ascii")
    except (ValueError, struct.error):
        raise InvalidCredentialError(_IS_DAMAGED) from None
    if cipher != b"none":
        raise InvalidCredentialError(_IS_ENCRYPTED)
    if kind.startswith("sk-"):
        raise InvalidCredentialError(_IS_HARDWARE)
    if kind == "ssh-dss":
        raise InvalidCredentialError(_IS_TOO_WEAK.format(kind="DSA"))


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return data[4 : 4 + length], data[4 + length :]


def _load(key: str, kind: str) -> object:
    load = serialization.load_ssh_private_key if kind == "OPENSSH" else serialization.load_pem_private_key
    try:
        with warnings.catch_warnings(action="ignore"):  # of kinds that are refused below
            loaded = load(f"{key}\n".encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, NotImplementedError):
        raise InvalidCredentialError(_IS_DAMAGED) from None
    if isinstance(loaded, rsa.RSAPrivateKey) and loaded.key_size < _SHORTEST_RSA:
        raise InvalidCredentialError(_IS_TOO_WEAK.format(kind=f"RSA with {loaded.key_size} bits"))
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidCredentialError(_IS_TOO_WEAK.format(kind=type(loaded).__name__.removesuffix("PrivateKey")))
    return loaded


def _as_openssh(key: ed25519.Ed25519PrivateKey) -> str:
    form = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode().strip()
