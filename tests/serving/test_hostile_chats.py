"""Hostile chats, live: schemas that are bombs, texts that are no texts, and callers who must not see each other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import httpx
import psutil
import pytest

PATH, TITLE = "/v1/chat/completions", "/v1/tasks/ticket_summary"
JSON = {"Content-Type": "application/json"}
FREE: Any = [{"role": "user", "content": "你好"}]
MEMORY = 300 * 2**20


def body(schema: Any, **fields: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return {"model": "titles", "messages": FREE, "max_completion_tokens": 20, "response_format": form, **fields}


def doubled(step: Any, times: int) -> dict[str, Any]:
    """A schema of which every definition names the one before it twice."""
    parts: dict[str, Any] = {"0": {"type": "object", "properties": {"x": {"type": "string"}}}}
    parts |= {str(number): step({"$ref": f"#/$defs/{number - 1}"}) for number in range(1, times)}
    return {"$defs": parts, "$ref": f"#/$defs/{times - 1}"}


def named(name: str, part: Any) -> Any:
    return {"type": "object", "properties": {name: part}, "additionalProperties": False}


NARROW = [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 9}]
BOMBS: dict[str, Any] = {
    "deep": reduce(lambda inner, _: {"type": "array", "items": inner}, range(60), {"type": "null"}),
    "too deep": reduce(lambda inner, _: {"type": "array", "items": inner}, range(300), {"type": "null"}),
    "deep constant": {"const": reduce(lambda inner, _: [inner], range(60), 1)},
    "large enumeration": {"enum": [f"路{number}" for number in range(9_000)]},
    "reference to itself": {"$ref": "#"},
    "references in a ring": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "either itself": {"anyOf": [{"$ref": "#"}, {"type": "string"}]},
    "exponential anyOf": doubled(lambda part: {"anyOf": [named("a", part), named("b", part)]}, 30),
    "exponential allOf": doubled(lambda part: {"allOf": [part, part]}, 24),
    "exponential both": doubled(lambda part: {"allOf": [{"anyOf": [part, each]} for each in NARROW]}, 20),
    "many properties": {"type": "object", "properties": {f"p{number}": {"type": "null"} for number in range(2_000)}},
    "endless array": {"type": "array", "items": {"type": "null"}, "minItems": 10**9},
    "endless text": {"type": "string", "minLength": 10**9},
    "huge numbers": {"type": "integer", "minimum": 10**300, "maximum": 10**301},
    "prime steps": {"type": "integer", "multipleOf": 999_999_937},
    "nested stars": {"type": "string", "pattern": "^(a+)+$"},
    "evil groups": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"},
    "states": {"type": "string", "pattern": "^(x|y)*x(x|y){22}$"},
    "repeats": {"type": "string", "pattern": "((a{1,500}){1,500}){1,500}"},
    "million": {"type": "string", "pattern": "a{1000000}"},
    "patterns at once": {
        "allOf": [{"type": "string", "pattern": f"(.*{letter}.{{12}}){{2}}"} for letter in "abcdefgh"]
    },
}


def writer_bytes() -> int:
    """Memory of the processes that write."""
    return sum(
        process.memory_info().rss
        for process in psutil.process_iter(["cmdline"])
        if "ServeReplica:ticket_summary" in " ".join(process.info["cmdline"] or ())
    )


@pytest.mark.parametrize("name", BOMBS)
def test_a_schema_that_is_a_bomb_harms_nobody(http: httpx.Client, name: str) -> None:
    before, kind = writer_bytes(), "required" if name == "deep" else None
    response = http.post(PATH, json=body(BOMBS[name]))
    assert response.status_code in (200, 400, 422), response.text
    assert len(response.content) < 20_000
    if kind:
        tool = {"type": "function", "function": {"name": "a", "parameters": BOMBS[name]}}
        asked = {**body({}), "response_format": None, "tools": [tool], "tool_choice": kind}
        assert http.post(PATH, json=asked).status_code in (200, 422)
    assert writer_bytes() < before + MEMORY


def test_others_are_answered_while_bombs_are_looked_at(endpoint: str, http: httpx.Client) -> None:
    with ThreadPoolExecutor(4) as pool, httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as other:
        bombs = [pool.submit(other.post, PATH, json=body(BOMBS[name])) for name in ("exponential both", "endless text")]
        bombs += [pool.submit(other.post, PATH, json=body(BOMBS["prime steps"])) for _ in range(6)]
        for _ in range(5):
            assert http.post(TITLE, json={"text": "您好，南路的井盖三天没人管。"}).status_code == 200
        assert {bomb.result().status_code for bomb in bombs} <= {200, 422}


@pytest.mark.parametrize("path", [PATH, TITLE, "/v1/tasks/ticket_category", "/v1/tasks/ticket_category/batch"])
def test_half_a_surrogate_pair_is_no_text(http: httpx.Client, path: str) -> None:
    for wrong in ('"\\ud800"', '"a\\udfff"'):
        content = {
            PATH: json.dumps(body({"properties": {"?": {}}})).replace('"?"', wrong),
            "/v1/tasks/ticket_category/batch": f'[{{"text": {wrong}}}]',
        }.get(path, f'{{"text": {wrong}}}')
        response = http.post(path, content=content.encode(), headers=JSON)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "broken_json"
    whole = http.post("/v1/tasks/ticket_category", content=b'{"text": "\\ud83d\\ude00 ok"}', headers=JSON)
    assert whole.status_code == 200


MARKERS = ("甲证四九七", "乙证八三二")


def endless(marker: str) -> dict[str, Any]:
    """An answer that goes on until its caller hangs up."""
    bias = {str(number): -100 for number in range(3)}
    return {
        "model": "titles",
        "messages": [{"role": "user", "content": marker * 20}],
        "stream": True,
        "logit_bias": bias,
        "max_completion_tokens": 2_000,
    }


def hung_up(http: httpx.Client, marker: str) -> Iterator[str]:
    """What comes of such an answer before the caller leaves in the middle of it."""
    with http.stream("POST", PATH, json=endless(marker)) as response:
        for number, line in enumerate(response.iter_lines()):
            yield line
            if number > 12:
                return


def test_no_caller_is_told_what_another_one_said(endpoint: str) -> None:
    """Two callers at once, with answers, errors and streams that end in the middle; each has a word of its own."""
    heard: dict[str, list[str]] = {marker: [] for marker in MARKERS}
    together = threading.Barrier(len(MARKERS))

    def call(marker: str) -> None:
        with httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as http:
            for _ in range(6):
                together.wait()
                heard[marker] += hung_up(http, marker)
                only = {"enum": [marker, f"{marker}号"]}
                told = [
                    http.post(PATH, json=body(only, messages=[{"role": "user", "content": marker}])),
                    http.post(PATH, json=body({"not": {}, "title": marker})),
                    http.post(PATH, json={"model": marker, "messages": FREE}),
                    http.post(TITLE, json={"text": f"{marker}的路灯坏了"}),
                    http.post("/v1/tasks/ticket_category", json={"text": f"{marker}的路灯坏了"}),
                    http.post("/v1/tasks/ticket_category", json={"text": marker * 9_000}),
                    http.post("/v1/audio/transcriptions", files={"file": marker.encode()}, data={"model": marker}),
                ]
                assert marker in told[0].text
                heard[marker] += [response.text + str(response.headers) for response in told]

    with ThreadPoolExecutor(len(MARKERS)) as pool:
        list(pool.map(call, MARKERS))
    for marker, other in (MARKERS, MARKERS[::-1]):
        assert heard[marker]
        assert not [said for said in heard[marker] if other in said]
