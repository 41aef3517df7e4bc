"""The command `falcon-mnist`: parses, calls, and says in one sentence what went wrong.

Commands import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from falcon_mnist import logs
from falcon_mnist.cli import console, remote
from falcon_mnist.cli.entry import INTERRUPTED
from falcon_mnist.cli.options import with_hyperparams
from falcon_mnist.settings import MOST_PROCESSES, Settings

app = typer.Typer(
    name="falcon-mnist",
    help="Train and serve small neural networks on MNIST over a REST API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The digits to train and test on.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Hidden = Annotated[str, typer.Option(help="Widths of the hidden layers, separated by commas; '' for none.")]
Activation = Annotated[str, typer.Option(help="After each hidden layer: relu, sigmoid or tanh.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training digits.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same parameters.")]


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if show_version:
        console.say(f"falcon-mnist {version('falcon-mnist')}")
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for a free one.")] = 8000,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_PROCESSES, help="Server processes on that port (FALCON_MNIST_PROCESSES, or 1)."),
    ] = None,
    allow_weak_tokens: Annotated[
        bool,
        typer.Option(
            "--allow-weak-tokens",
            help="Listen at addresses other than loopback also with tokens that are short or that others may read.",
        ),
    ] = False,
) -> None:
    """Serve the API until Ctrl-C or SIGTERM; settings come from FALCON_MNIST_* variables."""
    logs.configure(logging.INFO, logs.style("auto"))  # what is wrong with the settings is said too
    settings = Settings.from_env()
    logs.configure(logging.INFO, logs.style(settings.log))
    if processes is not None:
        settings = replace(settings, processes=processes)
    from falcon_mnist.app import open_service
    from falcon_mnist.cli.serve import run

    run(open_service(settings), host, port, allow_weak_tokens=allow_weak_tokens)


@app.command()
def demo(hidden: Hidden = "128", epochs: Epochs = 5, seed: Seed = 42) -> None:
    """Do the main job once over HTTP: create a model, train it, and recognise the test digits."""
    logs.configure(logging.ERROR, "text")  # what the command prints, not what its workers do
    settings = Settings.from_env()
    from falcon_mnist.cli.demo import run

    run(settings, _model(hidden, "relu", epochs=epochs, seed=seed))


@app.command()
@with_hyperparams
def train(
    *,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers, by commas; '' for none (128).")
    ] = None,
    activation: Activation = "relu",
    recipe: Annotated[str | None, typer.Option(help="Begin with a recipe; other options change it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    hyperparams: dict[str, Any],
) -> None:
    """Train a model without a server; what it makes is served by the next one on the same home."""
    logs.configure(logging.ERROR, "text")  # what the command prints, not what its workers do
    settings = Settings.from_env()
    from falcon_mnist.cli.train import train as train_offline

    if recipe is not None:
        body = _from_recipe(recipe, hidden, activation, hyperparams)
    else:
        body = _model("128" if hidden is None else hidden, activation, **hyperparams)
    train_offline(settings, body, as_json=as_json)


@app.command()
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List networks and hyperparameters that are known to do well, for `train --recipe`."""
    from falcon_mnist.api.resources.recipes import described
    from falcon_mnist.cli import report

    if as_json:
        import json

        console.say(json.dumps(described()))
    else:
        console.out.print(report.recipes(described()))


@app.command()
def backup(folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")]) -> None:
    """Copy models, runs, parameters and the token to a folder that can be served, while servers work."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.backup import back_up

    with console.progress() as show:
        copied = back_up(settings, folder.expanduser().absolute(), progress=show)
    console.say(f"{copied.parameter_sets} parameter sets, and all models and runs, are in {folder}")
    for fault in copied.damaged:
        console.say(f"damaged, and not copied: {fault}")
    if copied.damaged:
        raise typer.Exit(1)


@app.command()
def export(
    param_id: Annotated[str, typer.Argument(help="A parameter set of the server.")],
    name: Annotated[
        Literal["safetensors", "onnx", "npz", "json"], typer.Option("--format", help="Format of the file.")
    ] = "safetensors",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (PARAM_ID.FORMAT).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    url: remote.Url = remote.AT_HOME,
    token_file: remote.TokenFile = None,
    token: remote.Token = None,
) -> None:
    """Write a parameter set of a running server to a file."""
    from falcon_mnist.cli.exchange import export as write

    with remote.client(url, token_file, token) as client:
        console.say(f"{write(client, param_id, name, output, force=force)}")


@app.command(name="import")
def bring(
    file: Annotated[Path, typer.Argument(help="safetensors of ours or of PyTorch, or (.json) the API's JSON.")],
    activation: Annotated[
        str | None, typer.Option(help="For PyTorch's files: relu, sigmoid or tanh between the layers.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answer.")] = False,
    url: remote.Url = remote.AT_HOME,
    token_file: remote.TokenFile = None,
    token: remote.Token = None,
) -> None:
    """Bring parameters that were trained elsewhere to a running server."""
    from falcon_mnist.cli.exchange import bring as send

    with remote.client(url, token_file, token) as client:
        brought = send(client, file, activation)
    remote.show(brought, as_json=as_json, lines=[f"Parameters {brought['param_id']} of model {brought['model_id']}"])


@app.command()
def prune(
    older_than: Annotated[str, typer.Option(help="Age of the runs to remove: 30d, 12h, 8w.")],
    keep_best: Annotated[int, typer.Option(min=0, help="So many with the best validation accuracy stay.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove old runs with their parameters, and old models that have nothing left, also while servers serve."""
    logs.configure(logging.ERROR, "text")
    from falcon_mnist.cli import prune as pruning

    pruning.prune(Settings.from_env(), pruning.age(older_than), keep_best, ask=not yes)


@app.command()
def doctor() -> None:
    """Check database, files, space, data set and kernels, and say what to do; status 1 if something is wrong."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.doctor import examine

    with console.progress() as show:
        findings = list(examine(settings, progress=show))
    ill = [finding for finding in findings if finding.advice]
    for finding in findings:
        console.say(f"{'to do' if finding.advice else 'ok   '}  {finding.subject}: {finding.found}")
        if finding.advice:
            console.say(f"       {finding.advice}")
    if ill:
        raise typer.Exit(1)


@app.command("migrate-database")
def migrate_database() -> None:
    """Copy the rows of the home's SQLite file into the PostgreSQL database of FALCON_MNIST_DATABASE_URL."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.storage.moving import move_home

    with console.progress() as show:
        counts = move_home(settings, progress=show)
    moved = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    console.say(f"Moved {moved}.")
    console.say(f"{settings.home_database} stays as it is. Files stay in {settings.storage}.")


@data_app.command("fetch")
def data_fetch() -> None:
    """Download MNIST, with checksums, into the home folder."""
    logs.configure(logging.WARNING, "text")
    settings = Settings.from_env()
    from falcon_mnist.data import dataset

    with console.progress() as show:
        fetched = dataset.fetch(settings.home, progress=show)
    for name, value in dataset.describe(fetched):
        console.say(f"{name}: {value}")


@data_app.command("info")
def data_info() -> None:
    """Show which data set the settings give, and why; makes it ready if it is not."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.data import dataset

    with console.progress() as show:
        loaded = dataset.load(settings.dataset, settings.home, progress=show)
    for name, value in dataset.describe(loaded):
        console.say(f"{name}: {value}")


@data_app.command("show")
def data_show(
    count: Annotated[int, typer.Option(min=1, max=100, help="Training digits to show.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="It picks the digits, and draws.")] = 42,
    augment: Annotated[bool, typer.Option("--augment", help="Show also what training makes of each.")] = False,
    variants: Annotated[int, typer.Option(min=1, max=100, help="With --augment: epochs to show.")] = 2,
    shift: Annotated[float, typer.Option(min=0, max=10, help="Largest shift in pixels.")] = 1.5,
    rotation: Annotated[float, typer.Option(min=0, max=180, help="Largest rotation in degrees.")] = 15,
    scale: Annotated[float, typer.Option(min=0, max=0.9, help="Largest change of width and height, a share.")] = 0.15,
    shear: Annotated[float, typer.Option(min=0, max=1, help="Largest shear, a share.")] = 0.15,
    elastic: Annotated[float, typer.Option(min=0, max=200, help="Elastic displacement: factor in pixels.")] = 36,
    smoothness: Annotated[float, typer.Option(min=0.5, max=20, help="Elastic displacement: sigma in pixels.")] = 5,
    png: Annotated[Path | None, typer.Option(dir_okay=False, help="Write them as a picture as well.")] = None,
) -> None:
    """Draw training digits, and with --augment what training makes of them in its first epochs."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.show import show
    from falcon_mnist.data import dataset

    distortions = {"shift": shift, "rotation": rotation, "scale": scale, "shear": shear}
    distortions |= {"elastic": elastic, "smoothness": smoothness}
    with console.progress() as shown:
        loaded = dataset.load(settings.dataset, settings.home, progress=shown)
    show(loaded, count, variants if augment else 0, seed, distortions, png)


def main() -> int:
    """Run the command line; what a person can mend ends it with one sentence. Returns its status, or exits."""
    from falcon_mnist.cli.watch import InterruptedRunError

    try:
        app()
    except Exception as error:
        if (sentence := _sentence(error)) is None:
            raise
        console.err.print(f"falcon-mnist: {sentence}", soft_wrap=True, markup=False)
        return INTERRUPTED if isinstance(error, InterruptedRunError) else 1
    return 0


def _sentence(error: Exception) -> str | None:
    """What to tell a person, for the errors that are made for people; None for a bug."""
    from peewee import DatabaseError

    from falcon_mnist.api.errors import Problem

    if isinstance(error, Problem):
        return " ".join([error.detail, *(f"{fault.pointer}: {fault.detail}." for fault in error.faults[1:])])
    if isinstance(error, DatabaseError):
        return f"the database cannot be used: {error}"
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}"
    if type(error).__module__.startswith("falcon_mnist."):
        return str(error)
    return None


def _model(hidden: str, activation: str, **hyperparams: Any) -> dict[str, Any]:
    """The body of `POST /models` that the options describe."""
    try:
        widths = [int(width) for width in hidden.split(",") if width.strip()]
    except ValueError:
        raise typer.BadParameter("must be whole numbers, separated by commas", param_hint="--hidden") from None
    layers: list[dict[str, Any]] = []
    before = 784
    for width in widths:
        layers += [{"type": "linear", "in": before, "out": width}, {"type": activation}]
        before = width
    layers.append({"type": "linear", "in": before, "out": 10})
    return {"architecture": {"input_size": 784, "layers": layers}, "hyperparams": hyperparams}


def _from_recipe(name: str, hidden: str | None, activation: str, hyperparams: dict[str, Any]) -> dict[str, Any]:
    """The body of `POST /models` of a recipe with the options put over it."""
    from falcon_mnist.training.hyperparams import merge
    from falcon_mnist.training.recipes import RECIPES

    if name not in RECIPES:
        raise typer.BadParameter(f"must be one of {', '.join(RECIPES)}", param_hint="--recipe")
    recipe = RECIPES[name]
    widths = ",".join(map(str, recipe.hidden)) if hidden is None else hidden
    return _model(widths, activation, **merge(recipe.hyperparams, hyperparams))
