"""What holds for every extractor, and what holds for one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from umbench_metrics import extractors, plugins
from umbench_metrics.extractors import efficientnet_lite0, inception_v3
from umbench_metrics.extractors.task import TaskConfig, TaskNetwork
from umbench_metrics.features import extract
from umbench_metrics.images import resize

UNTRAINED = ("compact", "inception-v3")
GOLDEN_AT = [71, 539, 608, 862, 1163]
GOLDEN = [4.6734, 0.0814, 0.391, 0.0, 0.0037]
GOLDEN_MEAN = 0.08888
READY = [name for name in extractors.names() if extractors.available(name)[0]]


@pytest.fixture(scope="module", params=[*READY, *(f"task {b}" for b in UNTRAINED)])
def extractor(request: pytest.FixtureRequest) -> extractors.Extractor:
    if not request.param.startswith("task "):
        return extractors.load(request.param)
    torch.manual_seed(0)
    config = TaskConfig(backbone=request.param.removeprefix("task "), width=4)
    return TaskNetwork("sex", 2, config).eval()


def pictures(count: int, size: int) -> torch.Tensor:
    noise = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=(size, size), mode="bilinear")


def test_shape_and_type(extractor: extractors.Extractor) -> None:
    for size in (64, 96):
        features = extract(extractor, pictures(3, 64), size)
        assert features.shape == (3, extractor.dim)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        assert features.std(axis=0).max() > 0
    assert extract(extractor, pictures(0, 64), 64).shape == (0, extractor.dim)


def test_batches_change_nothing(extractor: extractors.Extractor) -> None:
    images = pictures(5, 96)
    whole = extract(extractor, images, 96, batch=5)
    scale = np.abs(whole).max()
    for batch in (1, 2):
        parts = extract(extractor, images, 96, batch=batch)
        np.testing.assert_allclose(parts, whole, atol=1e-5 * scale)
    order = [4, 2, 0, 1, 3]
    np.testing.assert_allclose(
        extract(extractor, images[order], 96, batch=5), whole[order], atol=1e-5 * scale
    )


def test_repeatable_and_without_side_effects(extractor: extractors.Extractor) -> None:
    images = pictures(2, 80)
    before = images.clone()
    print_before = extractor.fingerprint
    first, second = extract(extractor, images, 80), extract(extractor, images, 80)
    np.testing.assert_array_equal(first, second)
    assert torch.equal(images, before)
    assert extractor.fingerprint == print_before
    assert len(bytes.fromhex(print_before)) == 32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 1, 64, 64), 1.5), r"\[0, 1\]"),
        (torch.full((1, 1, 64, 64), torch.nan), "NaN"),
        (torch.zeros(1, 3, 64, 64), r"\(N, 1, H, W\)"),
        (torch.zeros(1, 1, 64, 64, dtype=torch.uint8), "floating point"),
    ],
)
def test_wrong_images(extractor: extractors.Extractor, images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract(extractor, images, 64)


def test_unknown_name() -> None:
    assert not extractors.available("efficientnet-lite")[0]
    with pytest.raises(ValueError, match="did you mean 'efficientnet-lite0'"):
        extractors.load("efficientnet-lite")


def test_plug_ins_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Means:
        name, dim, fingerprint = "means", 1, "0" * 64

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    class Point:
        name, module, value = "means", "theirs.means", "theirs.means:Means"

        def load(self) -> type[Means]:
            return Means

    points = [Point()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert "means" in extractors.names()
    assert extractors.source("means") == "theirs.means"
    assert extractors.source("sex") == "umbench_metrics.extractors.task"
    features = extract(extractors.load("means"), torch.ones(2, 1, 8, 8), 4)
    np.testing.assert_allclose(features, [[1.0], [1.0]])
    for taken in ("sex", "inception-v3"):  # a trained one's name is taken as well
        points[0].name = taken
        with pytest.raises(ValueError, match=f"'{taken}' is both umbench_metrics"):
            extractors.names()


def test_folded_grey_equals_three_channels() -> None:
    import timm

    path = efficientnet_lite0.weights_path()
    assert path is not None
    state = torch.load(path, weights_only=True)
    colour = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    colour.load_state_dict({efficientnet_lite0.timm_name(k): v for k, v in state.items()})
    images = pictures(2, 64)
    with torch.no_grad():
        inputs = ((images * 255 - 127) / 128).repeat(1, 3, 1, 1)
        expected = colour.forward_features(inputs).mean(dim=(2, 3)).numpy()
    features = extract(efficientnet_lite0.load(), images, 64)
    np.testing.assert_allclose(features, expected, atol=5e-5)


def test_values_of_the_original_network() -> None:
    # computed with efficientnet-lite-pytorch 0.1.0, on a grey ramp of 128 x 128
    ramp = torch.linspace(0, 1, 128)
    image = (ramp[:, None] * ramp[None, :])[None, None]
    features = extract(efficientnet_lite0.load(), image, 128)[0]
    np.testing.assert_allclose(features[GOLDEN_AT], GOLDEN, atol=2e-4)
    assert features.mean() == pytest.approx(GOLDEN_MEAN, abs=1e-5)


def test_missing_and_wrong_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv(inception_v3.WEIGHTS_VARIABLE, str(tmp_path))
    ready, remark = extractors.available("inception-v3")
    assert not ready
    assert inception_v3.FILE in remark
    assert inception_v3.WEIGHTS_VARIABLE in remark
    with pytest.raises(ValueError, match="weights missing"):
        extractors.load("inception-v3")
    (tmp_path / inception_v3.FILE).write_bytes(b"not these")
    assert extractors.available("inception-v3")[0]
    with pytest.raises(ValueError, match="SHA-256"):
        extractors.load("inception-v3")


@pytest.fixture
def random_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """The real architecture with random weights, where the pinned weights would be."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path / inception_v3.FILE
    # the constructor insists on a file: hand it the state of an untrained network
    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", lambda *_, **__: {})
        patched.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)
        torch.manual_seed(0)
        theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    torch.save(theirs.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception_v3, "SHA256", digest)
    monkeypatch.setenv(inception_v3.WEIGHTS_VARIABLE, str(tmp_path))
    return theirs


def test_inception_sees_a_fixed_or_the_native_size(random_inception: torch.nn.Module) -> None:
    fixed, native = extractors.load("inception-v3"), extractors.load("inception-v3", "native")
    assert (fixed.name, native.name) == ("inception-v3", "inception-v3-native")
    assert fixed.fingerprint == extractors.load("inception-v3", "fixed").fingerprint
    assert fixed.fingerprint != native.fingerprint
    assert "fixed" in fixed.backbone and "native" in native.backbone

    grey = (pictures(1, 128) * 255).round().to(torch.uint8).repeat(1, 3, 1, 1)
    as_published = random_inception(grey)[0].numpy()
    np.testing.assert_allclose(extract(fixed, pictures(1, 128), 128), as_published, rtol=1e-4)

    def distance(size: int) -> float:
        one, other = (extract(network, pictures(1, 299), size) for network in (fixed, native))
        assert one.shape == other.shape == (1, 2048)
        return float(np.abs(one - other).max() / one.std())

    assert distance(299) < 1e-4  # nothing is left to resize
    assert distance(128) > 0.1
    small = extract(native, pictures(1, 299), 64)
    np.testing.assert_array_equal(small, native(resize(resize(pictures(1, 299), 64), 75)).numpy())


def test_only_inception_has_a_choice_of_input() -> None:
    assert extractors.inputs("inception-v3") == ("fixed", "native")
    for name in ("efficientnet-lite0", "sex", "unheard-of"):
        assert extractors.inputs(name) == ()
    with pytest.raises(
        ValueError, match=r"^extractor efficientnet-lite0: input is 'native'; it .*out$"
    ):
        extractors.load("efficientnet-lite0", "native")


def test_a_wrong_input_is_named(random_inception: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match="inception-v3: input is 'big'; use fixed or native"):
        extractors.load("inception-v3", "big")


def test_images_are_resized_where_the_extractor_computes() -> None:
    class Elsewhere:
        name, dim, fingerprint, device = "elsewhere", 1, "0" * 64, torch.device("meta")

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            assert images.device == self.device and images.shape[-1] == 4
            return torch.ones(len(images), 1)

    assert extract(Elsewhere(), torch.ones(2, 1, 8, 8), 4).tolist() == [[1.0], [1.0]]
