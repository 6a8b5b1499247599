"""`umbench data`: make, import and look at annotated sets."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from umbench.data.annotated_set import AnnotatedSet

FOLDER = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, import and look at annotated sets."""


@data.command()
@click.option("--subjects", default=240, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--size", default=128, show_default=True, type=click.IntRange(32, 2048),
              help="Side of a montage, px.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--montages", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Montages per subject.")  # fmt: skip
@click.option("--out", required=True, type=FOLDER)
def phantom(subjects: int, size: int, seed: int, montages: int, out: Path) -> None:
    """Draw the procedural chest CT as an annotated set."""
    from umbench.data.annotated_set import check_vacant, write_set
    from umbench.data.phantom import make_phantom_set
    from umbench.errors import explained

    with explained(out, "--out"):
        check_vacant(out)
    with _bar(subjects) as bar:
        made = make_phantom_set(
            subjects, size, seed, montages,
            progress=None if bar is None else lambda done, total, text: bar.update(1),
        )  # fmt: skip
    with explained(out, "--out"):
        write_set(out, made)
    _report(out, made, as_json=False)


@data.command("import")
@click.argument("source", type=FOLDER)
@click.option("--out", required=True, type=FOLDER)
@click.option("--spec", help="A YAML file, or the name of a preset.")
@click.option("--preset", help="The name of a preset, as in covid-semiseg.")
@click.option("--size", type=click.IntRange(32, 4096), help="Target side, px.")
def import_(
    source: Path, out: Path, spec: str | None, preset: str | None, size: int | None
) -> None:
    """Import folders of slice pictures with masks below SOURCE."""
    if (spec is None) == (preset is None):
        raise click.UsageError("name one of --spec and --preset")
    from umbench.data.annotated_set import check_vacant, write_set
    from umbench.data.importer import import_pictures, load_spec
    from umbench.errors import explained

    declared = load_spec(str(spec or preset), size)
    with explained(out, "--out"):
        check_vacant(out)
    made = import_pictures(source, declared)
    with explained(out, "--out"):
        write_set(out, made)
    _report(out, made, as_json=False)


@data.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--picture", type=FOLDER, help="Write a PNG of images with their masks.")
def inspect(folder: Path, as_json: bool, picture: Path | None) -> None:
    """Check a set strictly and say what is in it."""
    import numpy as np

    from umbench.data.annotated_set import read_set

    found = read_set(folder)
    _report(folder, found, as_json)
    if picture is not None:
        from umbench.errors import explained
        from umbench.leaderboard.pictures import Samples
        from umbench.store import replacing

        shown = found.take(np.arange(min(8, len(found))))
        numbers = np.array(sorted(found.info.classes))
        masks = None if shown.masks is None else np.searchsorted(numbers, shown.masks)
        with explained(picture, "--picture"):
            picture.parent.mkdir(parents=True, exist_ok=True)
            with replacing(picture) as temporary:
                temporary.write_bytes(Samples.of(shown.unit(), masks).png())


def _bar(subjects: int) -> AbstractContextManager[Any]:
    """A progress bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return nullcontext()
    return click.progressbar(length=subjects, label="subjects", file=sys.stderr)


def _report(folder: Path, found: AnnotatedSet, as_json: bool) -> None:
    import json

    from umbench.data.annotated_set import content_fingerprint

    info, table = found.info, found.table
    shares = {}
    if found.masks is not None:
        shares = {name: float((found.masks == n).mean()) for n, name in info.classes.items()}
    facts = {
        "name": info.name,
        "folder": str(folder),
        "images": len(found),
        "size": list(found.images.shape[1:]),
        "subjects": int(table["subject"].nunique()),
        "splits": {str(k): int(v) for k, v in table["split"].value_counts().items()},
        "encoding": {
            "bits": info.encoding.bits, "window": list(info.encoding.window),
            "unit": info.encoding.unit,
        },
        "tiles": info.layout,
        "class shares": shares,
        "sex known": int((table["sex"] != "").sum()),
        "age known": int(table["age"].notna().sum()),
        "fingerprint": content_fingerprint(folder),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            shown = {k: f"{v:.1%}" if isinstance(v, float) else v for k, v in value.items()}
            value = ", ".join(f"{k or '(none)'}: {v}" for k, v in shown.items())
        click.echo(f"{key:<13} {value}")
