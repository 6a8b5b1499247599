"""Arrays on disk: mapped, not loaded; made chunk by chunk, so that a kill loses one chunk.

The files are safetensors, whose tensors lie uncompressed behind a small header.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CODES: dict[str, np.dtype[Any]] = {
    "U8": np.dtype("<u1"), "U16": np.dtype("<u2"), "U32": np.dtype("<u4"), "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "BOOL": np.dtype("?"),
}  # fmt: skip
NAMES = {kind: code for code, kind in CODES.items()}
ALIGNMENT = 64
CHUNK_BYTES, CHUNK_ROWS = 2**25, 32
"""About how much is made at a time at most, and lost by a kill."""
Shapes = Mapping[str, tuple[tuple[int, ...], "np.dtype[Any]"]]
"""Name of an array -> its whole shape, rows first, and its type."""


def chunk_rows(row_bytes: int, count: int) -> int:
    """How many rows of a size are made at a time, of `count`."""
    return max(1, min(CHUNK_BYTES // max(row_bytes, 1), CHUNK_ROWS, count))


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file as read-only memory maps."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
    found = {}
    for name, facts in header.items():
        if name != "__metadata__":
            kind, shape = CODES[facts["dtype"]], tuple(facts["shape"])
            start = 8 + length + facts["data_offsets"][0]
            empty = math.prod(shape) == 0  # nothing can be mapped
            found[name] = (
                np.empty(shape, kind)
                if empty
                else np.memmap(path, dtype=kind, mode="r", offset=start, shape=shape)
            )
    return found


class Rows:
    """Arrays of `count` rows that are filled chunk by chunk in a folder that outlives a kill.

    Several processes may fill chunks of their own. What is there when another one opens the same
    folder with the same shapes is kept; anything else is begun anew.
    """

    def __init__(self, folder: Path, shapes: Shapes, chunk: int, name: str = "rows") -> None:
        counts = {shape[0] for shape, _ in shapes.values()}
        if len(counts) != 1 or chunk < 1:
            raise ValueError(f"arrays of one number of rows are filled by chunks, not {counts}")
        self.count, self.chunk = counts.pop(), chunk
        self.path, self._done = folder / f"{name}.safetensors", folder / f"{name}.done"
        header = _header(shapes)
        size = len(header) + sum(_bytes(*spec) for spec in shapes.values())
        if not self._begun(header, size):
            self._begin(header, size)
        self.arrays = {
            name: np.memmap(self.path, dtype=kind, mode="r+", offset=offset, shape=shape)
            if math.prod(shape)
            else np.empty(shape, kind)
            for (name, (shape, kind)), offset in zip(
                shapes.items(), _offsets(shapes, len(header)), strict=True
            )
        }

    @property
    def chunks(self) -> list[slice]:
        """All chunks, in order."""
        starts = range(0, self.count, self.chunk)
        return [slice(start, min(start + self.chunk, self.count)) for start in starts]

    def missing(self, rank: int = 0, world: int = 1) -> list[slice]:
        """Chunks that are still to be made; of several processes, those of number `rank`."""
        done = self._done.read_bytes()
        return [c for k, c in enumerate(self.chunks) if not done[k] and k % world == rank]

    @property
    def done(self) -> int:
        """Rows that are there."""
        flags = self._done.read_bytes()
        return sum(c.stop - c.start for c, f in zip(self.chunks, flags, strict=True) if f)

    def put(self, rows: slice, **values: np.ndarray) -> None:
        """Keep a chunk; once this returns a kill does not lose it."""
        if set(values) != set(self.arrays):
            raise ValueError(f"a chunk has {sorted(self.arrays)}, not {sorted(values)}")
        for name, value in values.items():
            self.arrays[name][rows] = value
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        with self._done.open("r+b") as file:
            file.seek(rows.start // self.chunk)
            file.write(b"\1")

    def finish(self, path: Path) -> None:
        """Move the file to `path`; ValueError where a chunk is missing."""
        if self.missing():
            raise ValueError(f"{self.path}: {len(self.missing())} chunks were not made")
        self.settle(path)

    def settle(self, path: Path) -> None:
        """Move the file to `path`, whose arrays somebody filled by other means than `put`."""
        for array in self.arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        self.arrays = {}
        self.path.replace(path)
        self._done.unlink()

    def _begun(self, header: bytes, size: int) -> bool:
        try:
            with self.path.open("rb") as file:
                same = file.read(len(header)) == header
            flags = self._done.read_bytes()
        except OSError:
            return False
        return same and self.path.stat().st_size == size and len(flags) == len(self.chunks)

    def _begin(self, header: bytes, size: int) -> None:
        """An empty file of the final size; its flags last, since they are what is believed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._done.unlink(missing_ok=True)
        with self.path.open("wb") as file:
            file.write(header)
            file.truncate(size)
        self._done.write_bytes(bytes(len(self.chunks)))


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, rows: np.ndarray | None = None, chunk: int = 32
) -> None:
    """Write arrays, or some rows of them, as one safetensors file, `chunk` rows at a time."""
    counts = {name: len(value) if rows is None else len(rows) for name, value in arrays.items()}
    shapes = {n: ((counts[n], *value.shape[1:]), value.dtype) for n, value in arrays.items()}
    with path.open("wb") as file:
        file.write(_header(shapes))
        for name, value in arrays.items():
            for start in range(0, counts[name], chunk):
                part = slice(start, start + chunk) if rows is None else rows[start : start + chunk]
                file.write(np.ascontiguousarray(value[part]).tobytes())


def _bytes(shape: tuple[int, ...], kind: np.dtype) -> int:
    return math.prod(shape) * np.dtype(kind).itemsize


def _offsets(shapes: Shapes, start: int) -> list[int]:
    offsets = []
    for shape, kind in shapes.values():
        offsets.append(start)
        start += _bytes(shape, kind)
    return offsets


def _header(shapes: Shapes) -> bytes:
    """The length and the JSON of a safetensors file, padded with spaces to the alignment."""
    entries = {
        name: {
            "dtype": NAMES[np.dtype(kind)],
            "shape": list(shape),
            "data_offsets": [start, start + _bytes(shape, kind)],
        }
        for (name, (shape, kind)), start in zip(shapes.items(), _offsets(shapes, 0), strict=True)
    }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
