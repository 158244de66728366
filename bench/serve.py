"""Serving side by side with peers: the writer's engine under many streams.

    python bench/serve.py [--part writer] [--streams 16] [--requests 48] [--tokens 64] [--repeats 3] [--threads 2]

Part `writer`: a Qwen3 of random weights in 32 bits over Ray Serve, and the same checkpoint behind `transformers serve`
with continuous batching in a process of its own; streams of chat completions, prompts of 30 to 300 characters, drawn at
temperature 1. Tokens are those that the answers' own usage counts; the first one has come with the first text; memory
is what processes hold, for ours with Ray and the client. `schema_overhead` is the share of tokens per second that a
schema with 4,000 Chinese values costs, in runs that take turns. Prints a table; the last line is one JSON object, null
where a part was not run or a peer did not start.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import serve_writer
from rich.console import Console
from rich.table import Table

PARTS = ("writer",)
FIGURES = (
    "asr_batching",
    "asr_of_bare",
    "writer_vs_transformers_serve",
    "schema_overhead",
    "gateway_p50_ms",
    "triton_vs_in_process",
)


def writer_part(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The writer's table and figures."""
    plan = serve_writer.Plan(
        streams=arguments.streams,
        requests=arguments.requests,
        tokens=arguments.tokens,
        width=arguments.width,
        layers=arguments.layers,
        threads=arguments.threads,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="all when none is named")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    console, figures = Console(), dict[str, Any](dict.fromkeys(FIGURES))
    if "writer" in (arguments.part or PARTS):
        figures |= writer_part(arguments, console)
    print(json.dumps({name: None if value is None else round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
