"""metadata.csv: one row per image of an annotated set, read strictly."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from umbench.data.problems import Problems
from umbench.errors import InputError

SPLITS = ("train", "validation", "test", "")
SEXES = ("F", "M", "")
REQUIRED = ("file_name", "subject")
OPTIONAL = ("mask_file_name", "split", "sex", "age")


def read_table(folder: Path) -> pd.DataFrame:
    """The set's table; columns that may be left out are there, empty. Age is NaN where unknown.

    InputError has one line per broken rule, with file and row.
    """
    path = folder / "metadata.csv"
    rows = list(_rows(path))
    header = rows[0][1] if rows else []
    for column in REQUIRED:
        if column not in header:
            raise InputError(
                f"{path}: column {column} is missing; the first line names the columns, separated "
                "by commas"
            )
    for column in header:
        if header.count(column) > 1:
            raise InputError(f"{path}: column {column} is there twice; remove one")
    if len(rows) == 1:
        raise InputError(f"{path}: lists no images; add a row for each")
    table = pd.DataFrame([cells for _, cells in rows[1:]], columns=header, dtype=str)
    for column in OPTIONAL:
        if column not in table:
            table[column] = ""
    places = [f"{path}:{line}" for line, _ in rows[1:]]
    problems = Problems()
    _check_values(path, table, places, problems)
    _check_paths(folder, table, places, problems)
    problems.stop()
    table["age"] = pd.to_numeric(table["age"].replace("", np.nan))
    return table


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row, the header first; each row has as many cells as the header."""
    width, first = 0, 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(c < " " and c != "\t" for cell in cells for c in cell):
                    raise csv.Error("a value holds a line break or control character")
                width = width or len(cells)
                if cells and len(cells) != width:
                    raise csv.Error(f"{len(cells)} values under {width} columns")
                if cells:
                    yield first, cells
                first = reader.line_num + 1
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it lists the images, one row each") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}:{first}: {error}; mend its commas and quotes") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _check_values(path: Path, table: pd.DataFrame, places: list[str], problems: Problems) -> None:
    for here, record in zip(places, table.to_dict("records"), strict=True):
        if record["subject"].lower() in ("", "nan"):
            problems.add(here, "subject is empty or NaN; name who is in the picture")
        if record["split"] not in SPLITS:
            problems.add(here, f"split {record['split']!r}; write train, validation or test")
        if record["sex"] not in SEXES:
            problems.add(here, f"sex {record['sex']!r}; write F or M, or leave it empty")
        if record["age"] and not _is_age(record["age"]):
            problems.add(here, f"age {record['age']!r}; write years, or leave it empty")
    for subject, splits in table.groupby("subject")["split"]:
        if splits.nunique() > 1:
            found = " and ".join(sorted(split or "none" for split in set(splits)))
            problems.add(f"{path}: subject {subject}", f"in two splits ({found}); keep one")
    for name in table.loc[table["file_name"].duplicated(), "file_name"].unique():
        problems.add(f"{path}: {name}", "listed twice; keep one row")


def _is_age(text: str) -> bool:
    try:
        return 0 <= float(text) <= 130
    except ValueError:
        return False


def _check_paths(folder: Path, table: pd.DataFrame, places: list[str], problems: Problems) -> None:
    """A path in metadata.csv may not leave the set, be it by '..', as absolute or by a link."""
    root = Path(os.path.realpath(folder))
    masks = (table["mask_file_name"] != "").any()
    for column in ("file_name", "mask_file_name") if masks else ("file_name",):
        for here, name in zip(places, table[column], strict=True):
            if name == "":
                problems.add(here, f"{column} is empty; name the file")
                continue
            target = Path(os.path.realpath(root / name))
            if ".." in PurePosixPath(name).parts or not target.is_relative_to(root):
                problems.add(
                    f"{here}: {column} {name}", "points out of the set; copy the file into the set"
                )
