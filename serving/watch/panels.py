"""The dashboard and the alerts that come with the endpoints, and what they ask Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "dashboards"
DASHBOARD, ALERTS = FOLDER / "hotline.json", FOLDER / "alerts.yaml"
VARIABLES = {"$task": ".*", "$version": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in when everything is chosen."""


def queries() -> Iterator[tuple[str, str]]:
    """(title of the panel, query) of every panel, with Grafana's variables filled in."""
    content: Any = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in content["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield panel["title"], query


def alerts() -> Iterator[tuple[str, str]]:
    """(name, condition) of every alert."""
    content: Any = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    for group in content["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
