"""`data`: the digits to train and test on; and `digits`: some of them, to be sent to a server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from falcon_mnist import logs
from falcon_mnist.cli import console
from falcon_mnist.cli.options import flag, with_group
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


def _distortions(
    shift: Annotated[float, typer.Option(min=0, max=10, help="Largest shift in pixels.")] = 1.5,
    rotation: Annotated[float, typer.Option(min=0, max=180, help="Largest rotation in degrees.")] = 15,
    scale: Annotated[float, typer.Option(min=0, max=0.9, help="Largest change of width and height, a share.")] = 0.15,
    shear: Annotated[float, typer.Option(min=0, max=1, help="Largest shear, a share.")] = 0.15,
    elastic: Annotated[float, typer.Option(min=0, max=200, help="Elastic displacement: factor in pixels.")] = 36,
    smoothness: Annotated[float, typer.Option(min=0.5, max=20, help="Elastic displacement: sigma in pixels.")] = 5,
) -> dict[str, float]:
    """What `augmentation` in a run's hyperparameters is."""
    affine = {"shift": shift, "rotation": rotation, "scale": scale, "shear": shear}
    return affine | {"elastic": elastic, "smoothness": smoothness}


@app.command("show")
@with_group("distortions", _distortions)
def data_show(
    distortions: dict[str, float],
    count: Annotated[int, typer.Option(min=1, max=100, help="Training digits to show.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Picks the digits and how they are distorted.")] = 42,
    augment: Annotated[bool, flag("--augment", help="Show also what training makes of each.")] = False,
    variants: Annotated[int, typer.Option(min=1, max=100, help="With --augment: epochs to show.")] = 2,
    png: Annotated[Path | None, typer.Option(dir_okay=False, help="Write them as a picture as well.")] = None,
) -> None:
    """Draw training digits, and with --augment what training makes of them in its first epochs."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.show import show
    from falcon_mnist.data import dataset

    with console.progress() as shown:
        loaded = dataset.load(settings.dataset, settings.home, progress=shown)
    show(loaded, count, variants if augment else 0, seed, distortions, png)


def digits(
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    label: Annotated[int | None, typer.Option(min=0, max=9, help="Only this digit.")] = None,
    start: Annotated[int, typer.Option(min=0, help="Number of the test digit to begin with.")] = 0,
    form: Annotated[
        Literal["json", "raw", "png"],
        typer.Option(
            "--format", help="JSON with numbers from 0 to 1; raw: 784 bytes a digit; png: a file for each digit."
        ),
    ] = "json",
    folder: Annotated[Path, typer.Option(file_okay=False, exists=True, help="Where png files go.")] = Path(),
    show: Annotated[bool, flag("--show", help="Draw them as well, on standard error.")] = False,
) -> None:
    """Print test digits in the form that `POST /api/infer` takes."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli import digits as picking
    from falcon_mnist.data import dataset

    if form == "raw" and console.on_terminal():
        raise typer.BadParameter("raw is bytes, not text: send them to a file or a program", param_hint="--format")
    with console.progress() as shown:
        data = dataset.load(settings.dataset, settings.home, progress=shown)
    numbers = picking.pick(data.test_labels, count, start, label)
    images, labels = data.test_images[numbers], data.test_labels[numbers]
    if show:
        picking.draw(images, labels, numbers)
    if form == "png":
        for path in picking.write_pictures(images, labels, numbers, folder):
            console.say(str(path))
    else:
        picking.send(images.tobytes() if form == "raw" else picking.as_json(images))
