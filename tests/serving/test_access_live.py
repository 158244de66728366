"""Live endpoints of their own that want a key, speak TLS, and write nothing of either down."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hotline.errors import AccessError
from serving import client
from serving.access import issue
from serving.capture import calls, sealing

if TYPE_CHECKING:
    from tests.serving.conftest import Site

pytestmark = pytest.mark.slow
TEXT = "路灯坏了三天没人修"
TICKETS = "/v1/tasks/ticket_category"


@dataclass
class Live:
    site: Site
    url: str
    certificate: Path
    logs: Path
    said: Path

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, headers=headers, verify=trusted, timeout=90, trust_env=False)

    def key(self, **wish: object) -> str:
        return issue.create(self.site.settings, "ivr", 1, "operator", {"roles": ("call",), **wish})[1]


def certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hotline test")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(here, critical=False)
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate, private = folder / "certificate.pem", folder / "certificate.key"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*how))
    return certificate, private


@pytest.fixture
def live(site: Site, site_of: Callable[[str], Site], tmp_path: Path, free_port: int) -> Iterator[tuple[Live, Live]]:
    """One deployment of two sites, which have the same version of the same task."""
    other = site_of("demo")
    other.policy(site="elsewhere")
    for each in (site, other):
        keep = {"public_key": sealing.create(each.settings.keys), "share": 1.0}
        each.policy(access="required", capture=keep)
        each.champion(1)
    certificate, private = certify(tmp_path)
    ray = Path(tempfile.mkdtemp(prefix="hl", dir="/tmp"))  # Ray's sockets need a short path
    environment = os.environ | {"HOTLINE_WORKSPACE": str(site.settings.workspace), "RAY_TMPDIR": str(ray)}
    environment |= {"HOTLINE_CERTIFICATE": str(certificate), "HOTLINE_CERTIFICATE_KEY": str(private)}
    environment |= {"HOTLINE_PORT": str(free_port)}
    said = tmp_path / "said"
    with said.open("w") as out:
        command = [sys.executable, "-m", "pipelines.cli", "serve", "--also", str(other.settings.workspace)]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None and "Ready after" not in said.read_text():
            time.sleep(0.5)
        assert process.poll() is None, said.read_text()
        yield (
            Live(site, f"https://127.0.0.1:{free_port}", certificate, ray, said),
            Live(other, f"https://127.0.0.1:{free_port + 1}", certificate, ray, said),
        )
    finally:
        process.terminate()
        process.wait(120)
        shutil.rmtree(ray, ignore_errors=True)


def test_strangers_stay_out_of_live_endpoints_and_nothing_of_a_call_is_written(
    live: tuple[Live, Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = live
    sites_stay_apart(here, there)
    strangers_stay_out(here, monkeypatch)


def sites_stay_apart(here: Live, there: Live) -> None:
    """Keys, routes and captures of one are nothing at the other."""
    keys = [each.key() for each in (here, there)]
    for each, own, other in ((here, *keys), (there, *reversed(keys))):
        with each.http(own) as caller, each.http(other) as stranger:
            wait_for(lambda: caller.get("/v1/tasks").status_code == 200)
            assert (
                stranger.get("/v1/tasks").status_code == stranger.post(TICKETS, json={"text": TEXT}).status_code == 401
            )
    with here.http(keys[0]) as caller, there.http(keys[1]) as other:
        answers = [each.post(TICKETS, json={"text": TEXT}).json() for each in (caller, other)]
        assert [answer["provenance"]["site"] for answer in answers] == ["test", "elsewhere"]
        assert answers[0]["provenance"]["verdict"] != answers[1]["provenance"]["verdict"]
        for answer, own, strange in ((answers[0], caller, other), (answers[1], other, caller)):
            right = {"id": answer["id"], "answer": {"label": "城乡建设/市政/井盖"}}
            wait_for(lambda: own.post("/v1/feedback", json=right).status_code == 202)  # noqa: B023
            assert strange.post("/v1/feedback", json=right).status_code == 404
    for each, answer in zip((here, there), answers, strict=True):
        assert [call.id for call in calls.read(each.site.settings)] == [answer["id"]]


def strangers_stay_out(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    key = live.key()
    with live.http() as stranger, live.http(key) as caller:
        time.sleep(2)
        assert stranger.get("/healthz").status_code == 200
        for path in ("/", "/v1/tasks", "/readyz", "/metrics", "/docs", "/nowhere"):
            assert stranger.get(path).status_code == 401
        assert stranger.get("/-/routes").status_code == 401
        answer = caller.post(TICKETS, json={"text": TEXT})
        assert answer.status_code == 200, answer.text
        right = {"id": answer.json()["id"], "answer": {"label": "城乡建设/市政/井盖"}}
        wait_for(lambda: caller.post("/v1/feedback", json=right).status_code == 202)
    guess = {"Authorization": f"Bearer {key[:-4]}AAAA"}
    with live.http() as stranger:
        statuses = [stranger.get("/v1/tasks", headers=guess).status_code for _ in range(9)]
        assert statuses[0] == 401 and statuses[-1] == 429
    with pytest.raises(httpx.HTTPError):
        httpx.get(live.url.replace("https", "http") + "/healthz", trust_env=False)
    asks_with_the_command(live, live.key(), monkeypatch)
    (call, *_) = calls.read(live.site.settings)
    assert TEXT.encode() in call.body
    revoked_in_seconds(live)
    said = live.said.read_bytes() + b"".join(path.read_bytes() for path in live.logs.rglob("*") if path.is_file())
    kept = [path for path in live.site.settings.state.rglob("*") if path.is_file() and "keys" not in path.parts]
    written = said + b"".join(path.read_bytes() for path in kept)
    assert b"audit" in b"".join(str(path).encode() for path in kept)
    for secret in (key, key[:-4] + "AAAA", key.split("_", 2)[2], TEXT, "三天没人修"):
        assert secret.encode() not in written
    assert b"127.0.0.1" not in b"".join(path.read_bytes() for path in kept if path.name.startswith("audit"))


def asks_with_the_command(live: Live, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hotline predict` speaks TLS with a certificate of the house, and sends the key."""
    monkeypatch.setenv("HOTLINE_CA_FILE", str(live.certificate))
    with pytest.raises(AccessError, match="needs an access key"):
        list(client.predict(live.url, "ticket_category", [{"text": TEXT}]))
    monkeypatch.setenv("HOTLINE_API_KEY", key)
    time.sleep(2)
    (answer,) = client.predict(live.url, "ticket_category", [{"text": TEXT}])
    assert answer["answer"]["label"]


def revoked_in_seconds(live: Live) -> None:
    key = live.key()
    with live.http(key) as caller:
        wait_for(lambda: caller.get("/v1/tasks").status_code == 200)
        issue.revoke(live.site.settings, key.split("_")[1], "lost", "operator")
        wait_for(lambda: caller.get("/v1/tasks").status_code == 401)


def wait_for(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.2)
