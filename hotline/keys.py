"""ed25519 keys (RFC 8032): one file per role in the keys folder, readable by its owner only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hotline.errors import PolicyError


@dataclass(frozen=True)
class SigningKey:
    """A private key that can sign text; `public` is what signers.yaml lists."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> str:
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, text: str) -> str:
        return self._key.sign(text.encode()).hex()


def _file(folder: Path, role: str) -> Path:
    return folder / f"{role}.key"


def create(folder: Path, role: str) -> SigningKey:
    """A new private key for `role`. Raises PolicyError when one is there: keys are replaced by a person."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _file(folder, role)
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise PolicyError(f"there is a {role} key already", where=str(path), next="move it away first") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(key.private_bytes_raw().hex())
    return SigningKey(key)


def load(folder: Path, role: str) -> SigningKey:
    """The private key of `role`. Raises PolicyError when this machine does not hold it."""
    path = _file(folder, role)
    try:
        return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip())))
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"this machine holds no usable {role} key",
            where=str(path),
            found=error,
            next=f"hotline keys new {role}, then add its public key to policy/signers.yaml",
        ) from error


def secret(folder: Path, name: str) -> bytes:
    """32 random bytes for keyed hashes and surrogates, made once and kept beside the signing keys."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return bytes.fromhex(path.read_text().strip())
    value = os.urandom(32)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(value.hex())
    return value


def valid(public_key: str, text: str, signature: str) -> bool:
    """Whether `signature` is that key's signature of `text`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
