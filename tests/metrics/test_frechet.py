"""The Fréchet distance against independent float64 references and its own mathematics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from umbench_metrics.frechet import GramFrechet, frechet_distance
from umbench_metrics.statistics import load_moments, moments_of


def features(rows: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated and skewed, as the features of a network are."""
    generator = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(dim, dim)) / np.sqrt(dim)
    mix = mix @ np.diag(1 / (1 + np.arange(dim)) ** 0.7)
    return np.abs(generator.normal(size=(rows, dim)) @ mix @ mix.T + shift)


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """The definition; the square root of the product needs covariances of full rank."""
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(0) - y.mean(0)
    return float(gap @ gap + np.trace(s) + np.trace(t) - 2 * np.trace(linalg.sqrtm(s @ t).real))


def by_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    gap = x.mean(0) - y.mean(0)
    a, b = (x - x.mean(0)) / np.sqrt(len(x) - 1), (y - y.mean(0)) / np.sqrt(len(y) - 1)
    nuclear = linalg.svdvals(a @ b.T)
    return float(gap @ gap + (a**2).sum() + (b**2).sum() - 2 * nuclear.sum())


@pytest.mark.parametrize(("n", "m"), [(400, 400), (400, 150), (101, 300)])
def test_more_images_than_dimensions(n: int, m: int) -> None:
    x, y = features(n, 24, 0), features(m, 24, 1, 0.1)
    assert frechet_distance(x, y).value == pytest.approx(by_square_root(x, y), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 47), (40, 12), (30, 150), (150, 30)])
def test_fewer_images_than_dimensions(n: int, m: int) -> None:
    x, y = features(n, 96, 0), features(m, 96, 1, 0.1)
    distance = frechet_distance(x, y)
    assert distance.value == pytest.approx(by_singular_values(x, y), rel=1e-9)
    assert distance.rank == min(n - 1, m - 1, 96)
    assert (distance.n_real, distance.n_synthetic) == (n, m)


def test_closed_form_in_one_dimension() -> None:
    x, y = features(50, 1, 0), 3 * features(70, 1, 1) + 2
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-12)


def test_closed_form_of_commuting_covariances() -> None:
    # orthogonal columns of mean 0: both covariances are diagonal, exactly
    base = linalg.hadamard(64)[:, 1:9].astype(float)
    scale_x, scale_y = np.arange(1.0, 9.0), np.linspace(0.0, 3.0, 8)
    shift = np.linspace(-1, 1, 8)
    expected = (shift**2).sum() + ((scale_x - scale_y) ** 2).sum() * 64 / 63
    value = frechet_distance(base * scale_x, base * scale_y + shift).value
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(20, 64), (64, 64), (300, 40), (2, 5)])
def test_a_set_against_itself(n: int, dim: int) -> None:
    x = features(n, dim, 0)
    total = x.var(axis=0, ddof=1).sum()
    order = np.random.default_rng(0).permutation(n)
    for other in (x, x[order]):
        assert 0 <= frechet_distance(x, other).value <= 1e-9 * total
    m = moments_of(x)
    assert 0 <= frechet_distance(m, m).value <= 1e-9 * total


def test_constant_features() -> None:
    x = np.full((5, 3), 2.0)
    distance = frechet_distance(x, x + 1)
    assert distance.value == pytest.approx(3.0)
    assert distance.rank == 0
    assert frechet_distance(moments_of(x), moments_of(x + 1)).value == pytest.approx(3.0)


@pytest.mark.parametrize(("n", "m", "dim"), [(300, 200, 24), (40, 60, 96)])
def test_moments_agree_with_features(n: int, m: int, dim: int) -> None:
    x, y = features(n, dim, 0), features(m, dim, 1, 0.1)
    expected = frechet_distance(x, y)
    for real in (x, moments_of(x)):
        for synthetic in (y, moments_of(y)):
            distance = frechet_distance(real, synthetic)
            assert distance.value == pytest.approx(expected.value, rel=1e-9)
            assert distance.rank == expected.rank


seeds = st.integers(0, 10_000)
sizes = st.tuples(st.integers(2, 20), st.integers(2, 20), st.integers(1, 16))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, sizes=sizes, scale=st.floats(1e-3, 1e3))
def test_properties(seed: int, sizes: tuple[int, int, int], scale: float) -> None:
    n, m, dim = sizes
    x, y = features(n, dim, seed), features(m, dim, seed + 1, 0.2)
    value = frechet_distance(x, y).value
    close = pytest.approx(value, rel=1e-7, abs=1e-12)
    assert value >= 0
    assert frechet_distance(y, x).value == close
    assert frechet_distance(x + 5, y + 5).value == close
    assert frechet_distance(x * scale, y * scale).value / scale**2 == close
    turn = linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    assert frechet_distance(x @ turn, y @ turn).value == close


@pytest.mark.parametrize("n", [3, 20, 60])
@pytest.mark.parametrize(("n_real", "dim"), [(60, 128), (40, 128), (90, 24), (12, 24)])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_subsets_by_inner_products(n: int, n_real: int, dim: int, shift: float) -> None:
    real, pool = features(n_real, dim, 0), features(120, dim, 1) + shift
    generator = np.random.default_rng(2)
    rows = np.stack([generator.permutation(120)[:n] for _ in range(70)])
    expected = [frechet_distance(real, pool[r]).value for r in rows]
    np.testing.assert_allclose(GramFrechet(real, pool).distances(rows), expected, rtol=1e-8)


def test_subsets_with_repeats() -> None:
    real, pool = features(30, 50, 0), features(30, 50, 1, 0.1)
    rows = np.random.default_rng(2).integers(30, size=(20, 30))
    expected = [frechet_distance(real, pool[r]).value for r in rows]
    np.testing.assert_allclose(GramFrechet(real, pool).distances(rows), expected, rtol=1e-6)


def test_interval_covers_the_value_and_is_reproducible() -> None:
    x, y = features(40, 64, 0), features(50, 64, 1, 0.2)
    first = frechet_distance(x, y, bootstrap=100, seed=3)
    assert first == frechet_distance(x, y, bootstrap=100, seed=3)
    assert first.interval is not None
    assert first.interval[0] < first.value < first.interval[1]
    assert frechet_distance(x, y).interval is None


def test_replicates_equal_distances_of_resampled_images() -> None:
    x, y = features(25, 40, 0), features(20, 40, 1, 0.2)
    generator = np.random.default_rng(5)
    rows, columns = generator.integers(25, size=(60, 25)), generator.integers(20, size=(60, 20))
    values = np.array(
        [frechet_distance(x[i], y[j]).value for i, j in zip(rows, columns, strict=True)]
    )
    distance = frechet_distance(x, y, bootstrap=60, seed=5)
    expected = np.percentile(values - values.mean(), [2.5, 97.5]) + distance.value
    np.testing.assert_allclose(distance.interval, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("real", "synthetic", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "n >= 2"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "synthetic.*NaN"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "dimension"),
        (moments_of(np.zeros((1, 3))), np.zeros((4, 3)), "at least 2"),
    ],
)
def test_errors(real: np.ndarray, synthetic: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, synthetic)


def test_no_bootstrap_of_moments() -> None:
    x = features(10, 3, 0)
    with pytest.raises(ValueError, match="not moments"):
        frechet_distance(moments_of(x), x, bootstrap=10)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, cuts=st.lists(st.integers(1, 39), min_size=1, max_size=6, unique=True))
def test_moments_merge_in_any_batches(seed: int, cuts: list[int]) -> None:
    x = features(40, 7, seed, 100.0)
    parts = [moments_of(part) for part in np.split(x, sorted(cuts))]
    merged = parts[-1]
    for part in parts[:-1]:
        merged = merged.merge(part)
    assert merged.n == 40
    np.testing.assert_allclose(merged.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(merged.covariance(), np.cov(x, rowvar=False), rtol=1e-10, atol=1e-12)


def test_moments_round_trip(tmp_path) -> None:
    moments = moments_of(features(9, 4, 0))
    moments.save(tmp_path / "moments.safetensors")
    back = load_moments(tmp_path / "moments.safetensors")
    assert back.n == 9
    np.testing.assert_array_equal(back.mean, moments.mean)
    np.testing.assert_array_equal(back.m2, moments.m2)
    with pytest.raises(ValueError, match="dimensions differ"):
        moments.merge(moments_of(features(9, 5, 0)))
