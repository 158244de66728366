"""The validation report as one page that needs no network: what was expected of each column, and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment

_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Contract of {{ task }}</title>
<style>
  body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", sans-serif }
  body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  th, td { text-align: left; vertical-align: top; padding: .35rem .8rem; border-bottom: 1px solid #ddd }
  td.n { text-align: right; font-variant-numeric: tabular-nums }
  .ok { color: #176b3a } .bad { color: #b3261e; font-weight: 600 }
  code { font-size: .9em; white-space: nowrap }
</style>
<h1>Contract of {{ task }} · 数据契约</h1>
<p class="{{ 'bad' if failed else 'ok' }}">
  {{ rows }} rows · 行, {{ lines | length }} expectations · 条约束, {{ failed }} broken · 条未满足</p>
<table>
  <tr><th></th><th>column · 列</th><th>expected · 约束</th><th>broken by · 违反行数</th><th>examples · 例</th></tr>
{% for line in lines %}
  <tr>
    <td class="{{ 'ok' if line.ok else 'bad' }}">{{ '✓' if line.ok else '✗' }}</td>
    <td><code>{{ line.column }}</code></td><td>{{ line.expected }}</td>
    <td class="n">{{ line.broken }}</td><td>{{ line.examples }}</td>
  </tr>
{% endfor %}
</table>
<p>Great Expectations {{ version }}; the same as data in {{ task }}.json beside this page.</p>
</html>
""")

_SHOWN_CHARACTERS = 120


def page(task: str, result: dict[str, Any]) -> str:
    """HTML of a Great Expectations validation result (its `to_json_dict()`), broken expectations first."""
    lines = sorted(_lines(result), key=lambda line: (line["ok"], line["column"]))
    rows = max((item["result"].get("element_count", 0) for item in result["results"]), default=0)
    version = result["meta"].get("great_expectations_version", "")
    failed = sum(not line["ok"] for line in lines)
    return _PAGE.render(task=task, rows=rows, lines=lines, failed=failed, version=version)


def _lines(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in result["results"]:
        said, found = item["expectation_config"], item["result"]
        rules = {name: rule for name, rule in said["kwargs"].items() if name not in ("batch_id", "column")}
        yield {
            "ok": item["success"],
            "column": said["kwargs"].get("column", ""),
            "expected": " ".join([_words(said["type"]), *(f"{name} {_short(rule)}" for name, rule in rules.items())]),
            "broken": found.get("unexpected_count", ""),
            "examples": _short(found.get("partial_unexpected_list") or ""),
        }


def _words(type: str) -> str:
    return type.removeprefix("expect_column_values_to_").removeprefix("expect_column_").replace("_", " ")


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
