"""Arrays on disk: any safetensors reader reads them; a kill loses one chunk and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from umbench.data.rows import Rows, map_arrays, write_arrays

SHAPES = {"images": ((7, 3, 2), np.dtype(np.uint16)), "doubt": ((7,), np.dtype(np.float32))}


def chunk_of(rows: slice) -> dict[str, np.ndarray]:
    numbers = np.arange(rows.start, rows.stop)
    return {
        "images": np.broadcast_to(numbers[:, None, None], (len(numbers), 3, 2)),
        "doubt": numbers / 2,
    }


def test_what_was_made_before_a_kill_is_kept_and_the_rest_is_made(tmp_path: Path) -> None:
    first = Rows(tmp_path, SHAPES, chunk=2)
    for rows in first.missing()[:2]:
        first.put(rows, **chunk_of(rows))
    del first  # killed here: nothing is closed
    again = Rows(tmp_path, SHAPES, chunk=2)
    assert again.missing() == [slice(4, 6), slice(6, 7)]
    assert again.done == 4
    for rows in again.missing():
        again.put(rows, **chunk_of(rows))
    again.finish(tmp_path / "all.safetensors")
    theirs = load_file(tmp_path / "all.safetensors")
    assert theirs["images"][:, 0, 0].tolist() == list(range(7))
    assert theirs["doubt"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]


def test_undisturbed_and_resumed_files_are_the_same_bytes(tmp_path: Path) -> None:
    whole = Rows(tmp_path / "a", SHAPES, chunk=3)
    for rows in whole.chunks:
        whole.put(rows, **chunk_of(rows))
    whole.finish(tmp_path / "a/all")
    for rows in reversed(whole.chunks):
        Rows(tmp_path / "b", SHAPES, chunk=3).put(rows, **chunk_of(rows))
    Rows(tmp_path / "b", SHAPES, chunk=3).finish(tmp_path / "b/all")
    assert (tmp_path / "a/all").read_bytes() == (tmp_path / "b/all").read_bytes()
    write_arrays(tmp_path / "c", map_arrays(tmp_path / "a/all"), chunk=2)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a/all").read_bytes()


def test_processes_share_the_chunks(tmp_path: Path) -> None:
    parts = [Rows(tmp_path, SHAPES, chunk=2).missing(rank, 3) for rank in range(3)]
    assert sorted(c.start for part in parts for c in part) == [0, 2, 4, 6]
    assert [len(part) for part in parts] == [2, 1, 1]


def test_other_shapes_begin_anew_and_a_missing_chunk_is_an_error(tmp_path: Path) -> None:
    rows = Rows(tmp_path, SHAPES, chunk=7)
    rows.put(slice(0, 7), **chunk_of(slice(0, 7)))
    other = {**SHAPES, "doubt": ((7, 2), np.dtype(np.float32))}
    anew = Rows(tmp_path, other, chunk=7)
    assert anew.done == 0
    with pytest.raises(ValueError, match="1 chunks were not made"):
        anew.finish(tmp_path / "out")


def test_a_damaged_scratch_file_begins_anew(tmp_path: Path) -> None:
    rows = Rows(tmp_path, SHAPES, chunk=7)
    rows.put(slice(0, 7), **chunk_of(slice(0, 7)))
    rows.path.write_bytes(rows.path.read_bytes()[:-1])
    assert Rows(tmp_path, SHAPES, chunk=7).done == 0


def test_some_rows_are_written_without_the_others(tmp_path: Path) -> None:
    arrays = {"x": np.arange(12).reshape(6, 2), "none": np.empty((6, 0), np.float32)}
    write_arrays(tmp_path / "x", arrays, rows=np.array([4, 0, 5]), chunk=2)
    assert map_arrays(tmp_path / "x")["x"].tolist() == [[8, 9], [0, 1], [10, 11]]
    assert map_arrays(tmp_path / "x")["none"].shape == (3, 0)
