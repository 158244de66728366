"""ed25519 keys (RFC 8032): one file each in the keys folder, readable by its owner only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hotline.errors import PolicyError

SUFFIX = ".key"


@dataclass(frozen=True)
class SigningKey:
    """A private key that can sign text; `public` is what signers.yaml lists."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> str:
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, text: str) -> str:
        return self._key.sign(text.encode()).hex()


def _file(folder: Path, name: str) -> Path:
    """The file of a key in the folder, or one that is named by its path."""
    return Path(name).expanduser() if name.endswith(SUFFIX) or os.sep in name else folder / f"{name}{SUFFIX}"


def create(folder: Path, name: str) -> SigningKey:
    """A new private key called `name`. Raises PolicyError when one is there: keys are replaced by a person."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _file(folder, name)
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise PolicyError(f"there is a {name} key already", where=str(path), next="move it away first") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(key.private_bytes_raw().hex())
    return SigningKey(key)


def load(folder: Path, name: str, role: str | None = None) -> SigningKey:
    """The private key called `name`, or in the file of that path; `role` is what it is for, where that is not its name.

    Raises PolicyError when this machine does not hold it.
    """
    path = _file(folder, name)
    make = f"{role} --name {name}" if role else name
    try:
        return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip())))
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"this machine holds no usable {name} key",
            where=str(path),
            found=error,
            next=f"hotline keys new {make}, then add its public key to policy/signers.yaml",
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
