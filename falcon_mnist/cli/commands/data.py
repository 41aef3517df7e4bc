"""`data`: the digits to train and test on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from falcon_mnist import logs
from falcon_mnist.cli import console
from falcon_mnist.settings import Settings

app = typer.Typer(help="The digits to train and test on.", no_args_is_help=True)


@app.command("fetch")
def data_fetch() -> None:
    """Download MNIST, with checksums, into the home folder."""
    logs.configure(logging.WARNING, "text")
    settings = Settings.from_env()
    from falcon_mnist.data import dataset

    with console.progress() as show:
        fetched = dataset.fetch(settings.home, progress=show)
    for name, value in dataset.describe(fetched):
        console.say(f"{name}: {value}")


@app.command("info")
def data_info() -> None:
    """Show which data set the settings give, and why; makes it ready if it is not."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.data import dataset

    with console.progress() as show:
        loaded = dataset.load(settings.dataset, settings.home, progress=show)
    for name, value in dataset.describe(loaded):
        console.say(f"{name}: {value}")


@app.command("show")
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
