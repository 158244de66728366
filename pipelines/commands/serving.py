"""serve, predict, transcribe, trace, mlflow, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hotline.errors import InputError
from pipelines import output
from pipelines.output import Json


def add_to(app: typer.Typer) -> None:
    for command in (serve, predict, transcribe, trace, mlflow, demo):
        app.command()(command)


def serve(
    port: Annotated[int | None, typer.Option(help="Default: HOTLINE_PORT, else 8000.")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="TASK=triton; tasks that are not named are answered in process.")
    ] = None,
    triton: Annotated[
        str | None, typer.Option(help="HOST:PORT (gRPC) of a running server; default: one is started here.")
    ] = None,
    triton_repository: Annotated[
        Path | None, typer.Option(help="The folder that this server was started with; serving writes it.")
    ] = None,
    triton_backend: Annotated[
        Literal["python", "onnxruntime"], typer.Option(help="What that server runs graphs with.")
    ] = "python",
    replicas: Annotated[
        list[str] | None, typer.Option(help="TASK=2, or TASK=1-4 as its load asks for; default: one of each version.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of each replica.")] = 1,
    resident_mib: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Memory for a site's models on each machine, by their files; those asked least recently make room. "
            "Default: all stay in memory.",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="The workspace of a further site, served on the next port.")
    ] = None,
) -> None:
    """Bring up the endpoints of every champion; stop with Ctrl-C."""
    from hotline import settings
    from serving.engines.choice import options
    from serving.run import serve_forever

    here = settings.load()
    chosen = options(
        here, engine or (), triton, triton_repository, triton_backend, replicas or (), threads, resident_mib
    )
    others = [settings.load(each) for each in also or ()]
    serve_forever(here if port is None else here.model_copy(update={"port": port}), chosen, others)


def predict(
    task: Annotated[str, typer.Argument(help="A served task.")],
    file: Annotated[Path, typer.Argument(help="A table: xlsx, csv, tsv, jsonl, also .gz")],
    column: Annotated[
        list[str], typer.Option(help="Column of the text, or FIELD=COLUMN; several are joined by line breaks.")
    ],
    output_file: Annotated[Path | None, typer.Option("--output", help="Default: FILE.answers.csv")] = None,
    url: Annotated[str | None, typer.Option(help="Where the endpoints are; default: this machine.")] = None,
    json: Json = False,
) -> None:
    """Answer every row of a table through the endpoint, with confidence."""
    from pipelines.predict import predict_table

    report = predict_table(task, file, column, output_file, url)
    if json:
        output.as_json(report)
    else:
        output.note("{rows} rows, {answered} answered, {refused} refused → {output}".format(**report))


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings: wav, flac, ogg, mp3", exists=True, dir_okay=False)],
    url: Annotated[str | None, typer.Option(help="Where the endpoints are; default: this machine.")] = None,
    json: Json = False,
) -> None:
    """What was said in recordings, by the endpoint: text, dialect, confidence, and when each stretch was said."""
    from pipelines.transcribe import transcribe_files

    heard = transcribe_files(files, url, quiet=json)
    if json:
        output.as_json({"files": heard})
    if any("error" in each for each in heard):
        raise typer.Exit(InputError.exit_code)


def trace(
    request_id: Annotated[str, typer.Argument(help="The X-Request-Id of an answer.")],
    text: Annotated[
        str | None, typer.Option(help="What was asked, or was said in the recording; default: as it was captured.")
    ] = None,
    json: Json = False,
) -> None:
    """Walk back from an answer to model, verdict, run, recipe, snapshot, label batches and nearest training rows."""
    from pipelines.trace import trace as run

    found = run(request_id, text)
    if json:
        output.as_json(found)
        return
    rows = found.pop("nearest training rows")
    output.table(request_id, ("", ""), [(name, value) for name, value in found.items()])
    if rows is None:
        output.note("nearest training rows: not known, for the request was not captured; give --text", "dim")
    else:
        columns = ("likeness", "id", "label batch", "target")
        output.table("nearest training rows", columns, [[row[name] for name in columns] for row in rows])


def mlflow(port: Annotated[int, typer.Option(help="Port of the UI.")] = 5000) -> None:
    """Open the workspace's runs and registry in the MLflow UI; stop with Ctrl-C."""
    import subprocess
    import sys

    from hotline import settings

    here = settings.load()
    output.note(f"MLflow UI: http://127.0.0.1:{port}  (Ctrl-C stops it)", "bold")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", here.tracking_uri, "--port", str(port)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def demo(
    workspace: Annotated[Path, typer.Option(help="Where to work; git ignores workspace/")] = Path("workspace"),
    rows: Annotated[int, typer.Option(min=500, help="Generated tickets.")] = 6000,
    hours: Annotated[float, typer.Option(min=0.1, help="Generated telephone calls to learn from.")] = 3.5,
    port: Annotated[int, typer.Option(help="Port of the endpoints while the demo asks.")] = 8000,
    json: Json = False,
) -> None:
    """The whole chain on generated tickets and calls: import, train, judge, promote, serve, ask."""
    from pipelines.demo import run

    run(workspace, rows, hours, port, json)
