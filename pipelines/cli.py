"""The command line. Every command imports what it needs when it runs, so that `--help` is there at once."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hotline.errors import HotlineError
from pipelines.commands import (
    access,
    bars,
    bundling,
    cards,
    cascades,
    comparing,
    corpora,
    decisions,
    exporting,
    feedback,
    models,
    rollout,
    site,
    texts,
    training,
    watching,
)
from pipelines.commands import serving as endpoints

app = typer.Typer(
    name="hotline",
    help="Models that have earned their endpoint · 讓模型憑證據上線",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.add_typer(corpora.data_app, name="data")
app.add_typer(site.keys_app, name="keys")
app.add_typer(access.access_app, name="access")
app.add_typer(feedback.feedback_app, name="feedback")
app.add_typer(texts.text_app, name="text")
app.add_typer(bars.bars_app, name="bars")
app.add_typer(watching.dashboards_app, name="dashboards")
for module in (
    site,
    corpora,
    training,
    models,
    decisions,
    comparing,
    cards,
    endpoints,
    bundling,
    exporting,
    cascades,
    watching,
    rollout,
):
    module.add_to(app)


@app.callback()
def options(
    workspace: Annotated[
        Path | None, typer.Option(help="The workspace; default: HOTLINE_WORKSPACE, else here.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Set up what every command shares."""
    if workspace is not None:
        os.environ["HOTLINE_WORKSPACE"] = str(workspace.resolve())
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr, force=True
    )
    for name in ("hotline", "data", "training", "evaluation", "serving", "pipelines"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run the command; a user's mistake ends in a message and an exit status, never in a traceback."""
    try:
        app()
    except HotlineError as error:
        report(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)


def report(error: HotlineError) -> None:
    """The error on stderr: coloured on a terminal, plain in a pipe, one line of JSON after `--json`."""
    if "--json" in sys.argv:
        print(json.dumps({"error": error.as_dict()}, ensure_ascii=False), file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("✗ " + error.what, style="bold red"))
    for name, text in error.lines():
        console.print(Text(f"  {name + ':':<10}", style="dim") + Text(text, style="bold" if name == "next" else ""))


if __name__ == "__main__":
    main()
