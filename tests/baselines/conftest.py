"""What tests of networks share."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from umbench_baselines.contracts import LabelMaps, Pictures, TrainingData

Install = Callable[[Mapping[str, Mapping[str, str]]], Path]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are done sooner by one thread, and always in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def discs() -> TrainingData:
    """Twelve discs in discs on a background at 32 px, seven of them labelled, in three classes."""
    random, grid = np.random.default_rng(0), np.linspace(-1, 1, 32)
    y, x = random.random((2, 12, 1, 1)) - 0.5
    distance = (grid[:, None] - y) ** 2 + (grid - x) ** 2
    masks = (distance < 0.3).astype(np.uint8) + (distance < 0.06)
    grey = (40 + 80 * masks + random.integers(0, 20, masks.shape)).astype(np.uint8)
    known = np.arange(12) < 7
    maps = LabelMaps(masks, np.arange(12), (0, 1, 2), known)
    guidance = Pictures.of(grey // 51 * 51)
    return TrainingData(Pictures.of(grey), guidance, maps, torch.from_numpy(known), 3, 51)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs `planted_networks` with entry points, group -> name -> object; gives its folder."""

    def installed(points: Mapping[str, Mapping[str, str]]) -> Path:
        folder = tmp_path / "site"
        info = folder / "theirs-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        lines = []
        for group, named in points.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        shutil.copy(Path(__file__).with_name("planted_networks.py"), folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "planted_networks", raising=False)
        return folder

    return installed
