"""Where the endpoints listen: on this machine alone, or for others who show a key; over TLS where it is configured."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import ssl

from hotline import policy
from hotline.errors import InputError, PolicyError, UnavailableError
from hotline.settings import Settings
from serving.access.register import Register

log = logging.getLogger("hotline.serving")


def check(settings: Settings) -> None:
    """Raises PolicyError for other machines without required access, InputError for a certificate that cannot be used,
    IntegrityError for a register of access keys that was edited."""
    site, here = policy.load(settings.workspace), is_here(settings.host)
    if site.access == "open" and not here:
        raise PolicyError(
            "other machines would reach the endpoints without an access key",
            where="policy/site.yaml",
            found=f"access: open, and HOTLINE_HOST={settings.host}",
            expected="access: required",
            next="have access: required added to policy/site.yaml, then hotline access create",
        )
    _check_certificate(settings)
    if site.access == "required":
        known = Register.of(settings).read()
        if not any(known.ended(key) is None for key in known.issued.values()):
            log.warning("no access key holds: nobody can call; next: hotline access create NAME")
    if not here and settings.certificate is None:
        log.warning("keys and calls cross the network unencrypted, unless a gateway in front of this speaks TLS")


def check_port(host: str, port: int) -> None:
    """Raises UnavailableError unless this machine can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UnavailableError(
                f"port {port} is in use" if taken else f"cannot listen on {host}:{port}",
                where=f"{host}:{port}",
                found="another program listens there" if taken else error.strerror or error,
                next=f"HOTLINE_PORT={port + 1} hotline serve",
            ) from error


def is_here(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificate(settings: Settings) -> None:
    certificate, key = settings.certificate, settings.certificate_key
    if (certificate is None) != (key is None):
        raise InputError(
            "TLS needs a certificate and its key",
            found="one of them",
            expected="HOTLINE_CERTIFICATE and HOTLINE_CERTIFICATE_KEY",
        )
    if certificate is None or key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:  # SSLError is one
        raise InputError(
            "the certificate cannot be used",
            where=f"{certificate}, {key}",
            found=error,
            expected="two PEM files that belong together, the key without a password",
        ) from error


def _no_password() -> str:
    return ""  # OpenSSL would ask on the terminal
