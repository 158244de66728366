"""Where things are. The only module that reads environment variables.

A workspace is a folder with `policy/site.yaml`: the repository itself, the demo's `workspace/`, or any folder made by
`hotline init`. State that the platform makes lives in its `.hotline/`; corpora, recipes and policy lie in the open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

from hotline.errors import UnknownName

POLICY_FILE = Path("policy") / "site.yaml"
CODE_ROOT = Path(__file__).resolve().parents[1]


class Settings(BaseModel):
    """Resolved places and addresses of one workspace."""

    model_config = ConfigDict(frozen=True)

    workspace: Path
    tracking_uri: str
    ledger_url: str
    keys: Path
    triton: Path = CODE_ROOT / ".triton"
    """Where a tritonserver that we may start lies: bin, lib, backends, packages."""
    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    """PEM; with `certificate_key` the endpoints speak HTTPS."""
    certificate_key: Path | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches the endpoints."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def state(self) -> Path:
        return self.workspace / ".hotline"

    @property
    def artifacts(self) -> Path:
        return self.state / "artifacts"

    @property
    def corpora(self) -> Path:
        return self.workspace / "data" / "corpora"

    @property
    def quarantine(self) -> Path:
        return self.workspace / "data" / "quarantine"

    @property
    def recipes(self) -> Path:
        return self.workspace / "training" / "recipes"

    @property
    def models(self) -> Path:
        """Where `train` leaves model.json, one folder per recipe."""
        return self.workspace / "training" / "models"

    @property
    def checkpoints(self) -> Path:
        """Where runs write checkpoints, one folder per recipe and one per run in it."""
        return self.state / "checkpoints"

    @property
    def verdicts(self) -> Path:
        """Where `judge` leaves its reports, one folder per recipe."""
        return self.workspace / "evaluation" / "verdicts"

    @property
    def endpoints(self) -> Path:
        """Declarations of other people's endpoints that versions are compared with."""
        return self.workspace / "evaluation" / "endpoints"

    @property
    def cards(self) -> Path:
        """Where `card` leaves model cards and certificates, a folder per version and one per task in it."""
        return self.workspace / "evaluation" / "cards"

    @property
    def comparisons(self) -> Path:
        """Where `compare` leaves its pages; they hold what callers said."""
        return self.workspace / "evaluation" / "comparisons"

    @property
    def champions_lock(self) -> Path:
        return self.workspace / "champions.lock"

    @property
    def ledger_head(self) -> Path:
        """The newest entry that this workspace wrote into the ledger; tracked like champions.lock."""
        return self.workspace / "ledger.head"

    @property
    def followed_head(self) -> Path:
        """The newest entry that serving followed on this machine."""
        return self.state / "followed.head"

    @property
    def access(self) -> Path:
        """The register of access keys and the audit logs."""
        return self.state / "access"

    @property
    def access_head(self) -> Path:
        """The newest entry that this workspace wrote into the register of access keys; tracked like ledger.head."""
        return self.workspace / "access.head"

    @property
    def captures(self) -> Path:
        """Encrypted calls and corrections, for a limited time."""
        return self.state / "captures.db"

    @property
    def verified(self) -> Path:
        """Private read-only copies of model bytes whose digests were checked."""
        return self.state / "verified"


def find_workspace(start: Path | None = None) -> Path:
    """The nearest folder upwards from `start` that has policy/site.yaml. Raises UnknownName when there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / POLICY_FILE).is_file():
            return folder
    raise UnknownName(
        "this is not a workspace",
        where=str(here),
        expected=f"a folder with {POLICY_FILE}",
        next="hotline init DIRECTORY",
    )


@contextmanager
def kept_environment(name: str) -> Iterator[None]:
    """Whatever happens inside, the environment variable is afterwards what it was before."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


class Collector(NamedTuple):
    """Where traces go, by OpenTelemetry's standard variables."""

    url: str
    headers: tuple[tuple[str, str], ...]


def collector() -> Collector | None:
    """OTEL_EXPORTER_OTLP_TRACES_ENDPOINT as it is, or OTEL_EXPORTER_OTLP_ENDPOINT with /v1/traces; None: no traces."""
    whole, common = (os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("TRACES_ENDPOINT", "ENDPOINT"))
    url = whole or (common and f"{common.rstrip('/')}/v1/traces")
    if not url or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    listed = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    pairs = (part.partition("=") for part in listed.split(",") if "=" in part)
    return Collector(url, tuple((name.strip(), unquote(value.strip())) for name, _, value in pairs))


def secret(name: str) -> str:
    """The environment variable that a declaration names for a key. Raises UnknownName when it is not set."""
    if not os.environ.get(name):
        raise UnknownName(f"the environment variable {name} is not set", next=f"export {name}=…")
    return os.environ[name]


def api_key() -> str | None:
    """The access key that this person's calls carry, if any."""
    return os.environ.get("HOTLINE_API_KEY") or None


def ca_file() -> Path | None:
    """Certificates that calls trust beside those of the system, for endpoints with a certificate of the house."""
    return _path("HOTLINE_CA_FILE")


def load(workspace: Path | None = None) -> Settings:
    """Settings from, in this order: the argument, HOTLINE_WORKSPACE, the folder we are in; then the environment."""
    named = workspace or (Path(os.environ["HOTLINE_WORKSPACE"]) if os.environ.get("HOTLINE_WORKSPACE") else None)
    root = find_workspace(named)
    state = root / ".hotline"
    state.mkdir(parents=True, exist_ok=True)
    return Settings(
        workspace=root,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'mlflow.db'}",
        ledger_url=os.environ.get("HOTLINE_LEDGER_URL") or f"sqlite:///{state / 'ledger.db'}",
        keys=Path(os.environ.get("HOTLINE_KEYS") or state / "keys"),
        triton=Path(os.environ.get("HOTLINE_TRITON") or CODE_ROOT / ".triton"),
        host=os.environ.get("HOTLINE_HOST", "127.0.0.1"),
        port=int(os.environ.get("HOTLINE_PORT", "8000")),
        certificate=_path("HOTLINE_CERTIFICATE"),
        certificate_key=_path("HOTLINE_CERTIFICATE_KEY"),
    )


def _path(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None
