"""Serving, measured in one run: speech in batches, the gateway, many clients, and the writer beside a peer.

    python bench/serve.py [--part speech|recogniser|writer|triton] [--workspace workspace] [--repeats 3] [--threads 1]

Part `speech` starts the endpoints of a workspace's champions (`make demo` leaves one): clips of its test split one by
one, `--concurrency` at a time, and by the bare model in this process, fed perfect batches; tickets one by one, over
HTTP and by the replica's own work (prepare, forward, decode, plain values); tickets from 1 to 64 clients. The medians
are of runs that take turns, p50, p95 and p99 of single calls, memory of all processes, the client's too.
`demo_asr_batching` and `demo_asr_of_bare` are ratios of clips a second, `gateway_p50_ms` is what HTTP and Ray add to a
ticket's median, `cost_of_64_clients` the processor time of a call among 64 clients by that of a call alone.

Part `recogniser`: the same three ways for clips of 1.5 to 5 seconds and a recogniser like those in use, an encoder and
a language model of 80 M random weights with the proportions of Qwen3-ASR 0.6B: `asr_batching` and `asr_of_bare`. The
demo's recogniser needs some 3 ms for a clip, about what HTTP needs for it, so its figures tell of both.

Part `writer`: a Qwen3 of random weights in 32 bits over Ray Serve, and the same checkpoint behind `transformers serve`
with continuous batching in a process of its own; streams of chat completions, prompts of 30 to 300 characters, drawn at
temperature 1. Tokens are those that the answers' own usage counts; the first one has come with the first text; memory
is what processes hold, for ours with Ray and the client. `schema_overhead` is the share of tokens per second that a
schema with 4,000 Chinese values costs, in runs that take turns.

Part `triton`: an untrained classifier of random texts, converted to ONNX, served in process and through a tritonserver
(`make triton`), 1 and 16 callers at a time; `triton_vs_in_process` is the ratio of requests a second at 16.

Prints tables; the last line is one JSON object, null where a part was not run or a peer did not start.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import serve_recogniser
import serve_speech
import serve_triton
import serve_writer
from rich.console import Console
from rich.table import Table

from serving.replica import Options

PARTS = ("speech", "recogniser", "writer", "triton")
FIGURES = (
    "asr_batching",
    "asr_of_bare",
    "writer_vs_transformers_serve",
    "schema_overhead",
    "gateway_p50_ms",
    "triton_vs_in_process",
)


def speech_part(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The tables and figures of the workspace's endpoints."""
    options = Options(threads=arguments.threads)
    found, figures = serve_speech.run(
        serve_speech.Plan(arguments.workspace, arguments.clips, arguments.concurrency, arguments.repeats, options)
    )
    _tell(found, console)
    return dict(figures)


def recogniser_part(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The table and figures of a recogniser of random weights."""
    options = Options(threads=arguments.recogniser_threads)
    found, figures = serve_recogniser.run(
        serve_recogniser.Plan(arguments.clips, arguments.concurrency, arguments.repeats, options)
    )
    _tell(found, console)
    return dict(figures)


def _tell(found: Mapping[str, serve_speech.Run], console: Console) -> None:
    table = Table("way", "rows/s", "p50, ms", "p95, ms", "p99, ms", "CPU ms a row")
    for name, one in found.items():
        at = (f"{1000 * float(np.quantile(one.calls, q)):.1f}" for q in (0.5, 0.95, 0.99))
        work = f"{1000 * one.processor_seconds / one.rows:.2f}" if one.processor_seconds else ""
        table.add_row(name, f"{one.rows / one.seconds:.1f}", *at, work)
    console.print(table)


def writer_part(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The writer's table and figures."""
    plan = serve_writer.Plan(
        streams=arguments.streams,
        requests=arguments.requests,
        tokens=arguments.tokens,
        width=arguments.width,
        layers=arguments.layers,
        threads=arguments.writer_threads,
        repeats=arguments.repeats,
    )
    found = serve_writer.run(plan)
    table = Table("system", "tokens/s", "first token p50, ms", "p95, ms", "memory, MiB")
    medians = {name: serve_writer.median(runs) for name, runs in found.items() if isinstance(runs, list)}
    for name, seen in medians.items():
        table.add_row(name, *(f"{value:.0f}" for value in seen))
    console.print(f"{found['weights'] / 1e6:.1f} M weights, {plan.streams} streams", table)
    if found["why_no_peer"]:
        console.print(f"transformers serve: {found['why_no_peer']}", markup=False)
    mine, held, peer = (medians.get(name) for name in ("ours", "ours, held to a schema", "transformers serve"))
    assert mine and held
    return {
        "writer_vs_transformers_serve": mine.tokens_per_second / peer.tokens_per_second if peer else None,
        "writer_first_token_ms": mine.first_p50_ms,
        "transformers_serve_first_token_ms": peer.first_p50_ms if peer else None,
        "schema_overhead": 1 - held.tokens_per_second / mine.tokens_per_second,
    }


def triton_part(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The classifier's table, in process and through Triton."""
    found = serve_triton.run(serve_triton.Plan(arguments.calls, arguments.repeats, arguments.threads))
    if isinstance(found, str):
        console.print(f"tritonserver: {found}", markup=False)
        return {}
    table = Table("engine", "callers", "requests/s", "p50, ms", "p95, ms")
    for (name, callers), seen in found.items():
        table.add_row(name, str(callers), f"{seen.per_second:.1f}", f"{seen.p50_ms:.1f}", f"{seen.p95_ms:.1f}")
    console.print(table)
    many = max(serve_triton.CALLERS)
    return {"triton_vs_in_process": found["triton", many].per_second / found["in process", many].per_second}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="all when none is named")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--writer-threads", type=int, default=2)
    parser.add_argument("--recogniser-threads", type=int, default=2)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=400)
    arguments = parser.parse_args()
    console, figures = Console(), dict[str, Any](dict.fromkeys(FIGURES))
    if "speech" in (arguments.part or PARTS):
        figures |= speech_part(arguments, console)
    if "recogniser" in (arguments.part or PARTS):
        figures |= recogniser_part(arguments, console)
    if "writer" in (arguments.part or PARTS):
        figures |= writer_part(arguments, console)
    if "triton" in (arguments.part or PARTS):
        figures |= triton_part(arguments, console)
    print(json.dumps({name: None if value is None else round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
