"""Which chunks of a stage's arrays are there, and marks that show whether they are made again."""

from __future__ import annotations

from pathlib import Path

from umbench.data.rows import map_arrays


def flags_of(scratch: Path) -> bytes:
    """One byte per chunk of what a stage makes: 1 where it is there."""
    found = sorted(scratch.glob("*.done"))
    return found[0].read_bytes() if found else b""


def mark(scratch: Path, chunks: list[int]) -> list[tuple[str, int, bytes]]:
    """Change the first byte of the first row of chunks: array, row, and what it is now."""
    path = sorted(scratch.glob("*.safetensors"))[0]
    name, array = next((n, a) for n, a in map_arrays(path).items() if not n.startswith("rows/"))
    per_chunk = -(-len(array) // len(flags_of(scratch)))
    out = []
    for chunk in chunks:
        offset = array.offset + chunk * per_chunk * array[0].nbytes
        with path.open("r+b") as file:
            file.seek(offset)
            byte = bytes([file.read(1)[0] ^ 1])
            file.seek(offset)
            file.write(byte)
        out.append((name, chunk * per_chunk, byte))
    return out


def marked(output: Path, name: str, row: int) -> bytes:
    """The first byte of a row of a finished array."""
    for path in sorted(output.glob("*.safetensors")):
        arrays = map_arrays(path)
        if name in arrays:
            return arrays[name][row].tobytes()[:1]
    return b""
