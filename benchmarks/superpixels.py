"""What should the compactness of superpixels be? A table for the phantom and for real slices.

    python benchmarks/superpixels.py [--compactness 30]... [--count 512] [--size 256]
        [--images 6] [--pictures FOLDER]

The phantom is made here (2 x 2 montages, `count` superpixels per tile). Real slices are read
from the folder UMBENCH_TEST_DATA where there is one: JPEG slices in `covid-semiseg`, truth: their
lesions; and axial slices of `corpus/nifti_chest` (needs nibabel), truth: a pulmonary artery.

`m`: compactness. `left`: share of the variance that lies within superpixels; and over that of a
plain grid of as many cells, on average and in the worst image. `noise`: share of pixels with the
number that pure noise gives them; with numbers matched; and what the plain grid shares with noise
by chance. `UE`: under-segmentation error. `recall`: true borders found, with no tolerance; and
those of lesions alone. `edges`: length of all borders. The last row is so stiff that it is a grid.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from umbench_baselines.guidance.quality import (
    boundary_density,
    boundary_recall,
    grid_labels,
    matched_share,
    under_segmentation_error,
    unexplained_variance,
)
from umbench_baselines.guidance.superpixels import segment
from umbench_baselines.guidance.unsupervised_mask import guidance_of

from umbench.data.phantom import make_phantom_set

VALUES = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 70.0, 100.0)
STIFF = 1e5
COLUMNS = (
    "m", "returned", "left", "/ grid", "worst", "noise", "matched", "grid's", "UE", "grid's",
    "recall", "grid's", "lesions", "grid's", "edges / grid", "s",
)  # fmt: skip
WORST = 3
DIGITS = (0, 3, 2, 2, 3, 2, 2, 3, 3, 2, 2, 2, 2, 2, 2)


class Sample(NamedTuple):
    """One image with its truth, both (H, W) uint8, the lesions among it, and its tiles."""

    image: np.ndarray
    truth: np.ndarray
    lesions: np.ndarray
    layout: tuple[int, int]


def phantom(number: int, size: int) -> Iterator[Sample]:
    found = make_phantom_set(number, size, seed=4)
    for image, mask in zip(found.images, found.masks, strict=True):
        yield Sample(image, mask, mask == 2, (2, 2))


def covid_slices(folder: Path, number: int) -> Iterator[Sample]:
    paths = sorted(folder.glob("covid-semiseg/Dataset/*/MultiClass*/Imgs/*.jpg"))
    for path in paths[:: max(1, len(paths) // number)][:number]:
        truth = path.parents[1] / "GT" / f"{path.stem}.png"
        with Image.open(path) as image, Image.open(truth) as mask:
            classes = np.asarray(mask)
            yield Sample(np.asarray(image.convert("L")), classes, classes > 0, (1, 1))


def nifti_slices(folder: Path, number: int) -> Iterator[Sample]:
    """Slices of one volume in the window of the paper, HU [-1500, 100]."""
    import nibabel

    home = folder / "corpus" / "nifti_chest" / "totalseg_pulm"
    volume = np.asarray(nibabel.load(home / "ct_cropped.nii.gz").dataobj)
    truth = np.asarray(nibabel.load(home / "pulmonary_artery.nii.gz").dataobj)
    grey = np.rint((np.clip(volume, -1500, 100) + 1500) / 1600 * 255).astype(np.uint8)
    for z in np.linspace(0, volume.shape[2] - 1, number).astype(int):
        artery = truth[:, :, z].T.astype(np.uint8)
        yield Sample(grey[:, :, z].T.copy(), artery, np.zeros_like(artery), (1, 1))


def measure(sample: Sample, compactness: float, count: int, noise: np.ndarray) -> list[float]:
    """The columns of a row but the first, for one image and the superpixels of noise."""
    start = time.perf_counter()
    labels = segment(sample.image, "slic", count, compactness, sample.layout)
    seconds = time.perf_counter() - start
    returned = int(labels.max()) + 1
    grid = grid_labels(labels.shape, returned)
    left = unexplained_variance(sample.image, labels)
    ratio = left / unexplained_variance(sample.image, grid)
    return [
        returned,
        left,
        ratio,
        ratio,  # of which the table shows the largest
        float((labels == noise).mean()),
        matched_share(labels, noise),
        matched_share(grid, noise),
        under_segmentation_error(labels, sample.truth),
        under_segmentation_error(grid, sample.truth),
        boundary_recall(labels, sample.truth),
        boundary_recall(grid, sample.truth),
        boundary_recall(labels, sample.lesions),
        boundary_recall(grid, sample.lesions),
        boundary_density(labels) / boundary_density(grid),
        seconds,
    ]


def table(name: str, samples: list[Sample], values: tuple[float, ...], count: int) -> Table:
    asked = count * samples[0].layout[0] * samples[0].layout[1]
    shown = Table(title=f"{name}: n = {len(samples)} images, {asked} superpixels asked of each")
    for column in COLUMNS:
        shown.add_column(column, justify="right")
    for compactness in (*values, STIFF):
        noises: dict[tuple[int, ...], np.ndarray] = {}
        rows = []
        for sample in samples:
            shape = sample.image.shape
            if shape not in noises:
                noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
                noises[shape] = segment(noise, "slic", count, compactness, sample.layout)
            rows.append(measure(sample, compactness, count, noises[shape]))
        known = np.ma.masked_invalid(rows)  # an image without lesions has no recall of them
        means = known.mean(axis=0).filled(np.nan)
        means[WORST] = np.max(rows, axis=0)[WORST]
        cells = (
            "–" if np.isnan(mean) else f"{mean:.{digits}f}"
            for mean, digits in zip(means, DIGITS, strict=True)
        )
        shown.add_row("stiff" if compactness == STIFF else f"{compactness:g}", *cells)
    return shown


def picture(sample: Sample, values: tuple[float, ...], count: int) -> Image.Image:
    """The image; then for each compactness the borders, and below them the mask at t = 50."""
    zoom = max(1, 512 // sample.image.shape[0])

    def enlarged(image: np.ndarray) -> np.ndarray:
        return image.repeat(zoom, axis=0).repeat(zoom, axis=1)

    columns = [np.concatenate([enlarged(sample.image)] * 2)]
    for compactness in (*values, STIFF):
        labels = segment(sample.image, "slic", count, compactness, sample.layout)
        drawn, fine = enlarged(sample.image), enlarged(labels)
        drawn[1:][fine[1:] != fine[:-1]] = 255
        drawn[:, 1:][fine[:, 1:] != fine[:, :-1]] = 255
        mask = guidance_of(sample.image, labels, 50)
        columns.append(np.concatenate([drawn, enlarged(mask)]))
    return Image.fromarray(np.concatenate(columns, axis=1))


def real_slices(number: int, console: Console) -> Iterator[tuple[str, list[Sample]]]:
    """What there is of real slices; a line for what there is not."""
    given = os.environ.get("UMBENCH_TEST_DATA")
    if not given:
        console.print("No real slices: UMBENCH_TEST_DATA does not name their folder.")
        return
    for name, read in (("covid", covid_slices), ("nifti", nifti_slices)):
        try:
            found = list(read(Path(given), number))
        except (ImportError, FileNotFoundError) as error:
            console.print(f"No {name} slices: {error}")
            continue
        if found:
            yield name, found
        else:
            console.print(f"No {name} slices under {given}")


@click.command()
@click.option("--compactness", "values", multiple=True, type=float, default=VALUES)
@click.option("--count", default=512, show_default=True, help="Superpixels asked for per tile.")
@click.option("--size", default=256, show_default=True, help="Side of the phantom's montages.")
@click.option("--images", default=6, show_default=True, help="Images of each kind.")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for pictures.")
def main(
    values: tuple[float, ...], count: int, size: int, images: int, pictures: Path | None
) -> None:
    """What should the compactness of superpixels be? Tables, and pictures of the masks."""
    console = Console(width=150)
    for name, samples in (("phantom", list(phantom(images, size))), *real_slices(images, console)):
        console.print(table(name, samples, values, count))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            for number, sample in enumerate(samples[:2]):
                picture(sample, values, count).save(pictures / f"{name}-{number}.png")


if __name__ == "__main__":
    main()
