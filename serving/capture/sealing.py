"""Encrypted to a public key, by HPKE (RFC 9180: X25519, HKDF-SHA256, AES-256-GCM): whoever seals cannot read."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hotline.errors import IntegrityError, PolicyError

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
FILE = "capture.key"


def create(folder: Path) -> str:
    """A new private key in the keys folder, readable by its owner only; gives back the public one, in hex.

    Raises PolicyError when one is there: what was captured for it could not be read any more.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = X25519PrivateKey.generate()
    try:
        descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise PolicyError("there is a capture key already", where=str(folder / FILE), next="move it away") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(key.private_bytes_raw().hex())
    return key.public_key().public_bytes_raw().hex()


def load(folder: Path) -> X25519PrivateKey:
    """The private key. Raises PolicyError when this machine does not hold it."""
    try:
        return X25519PrivateKey.from_private_bytes(bytes.fromhex((folder / FILE).read_text().strip()))
    except (OSError, ValueError) as error:
        raise PolicyError(
            "this machine holds no usable capture key",
            where=str(folder / FILE),
            found=type(error).__name__,
            next="run this where the key is, or name its folder: HOTLINE_KEYS=…",
        ) from error


def seal(public_key: str, content: bytes, bound_to: tuple[str, ...]) -> bytes:
    """The content for the holder of the private key; it opens as what it is `bound_to` and as nothing else."""
    return SUITE.encrypt(content, X25519PublicKey.from_public_bytes(bytes.fromhex(public_key)), _info(bound_to))


def opened(key: X25519PrivateKey, sealed: bytes, bound_to: tuple[str, ...]) -> bytes:
    """The content. Raises IntegrityError for another key, other bytes, or what was bound to something else."""
    try:
        return SUITE.decrypt(sealed, key, _info(bound_to))
    except (InvalidTag, ValueError) as error:
        raise IntegrityError(
            "a captured call cannot be opened",
            where=bound_to[-1],
            found="another key, another site, or edited bytes",
            next="use the key that policy/site.yaml named when it was captured",
        ) from error


def _info(bound_to: tuple[str, ...]) -> bytes:
    return "\n".join(("hotline capture 1", *bound_to)).encode()
