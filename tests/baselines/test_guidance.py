"""Algorithm 1 against a slow loop; superpixels follow edges, on a stated scale; tiles; t."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from umbench_baselines.guidance.quality import (
    boundary_density,
    boundary_recall,
    grid_labels,
    matched_share,
    under_segmentation_error,
    unexplained_variance,
)
from umbench_baselines.guidance.superpixels import (
    COMPACTNESS,
    algorithm_names,
    get,
    needs_segmentation,
    segment,
)
from umbench_baselines.guidance.unsupervised_mask import cluster, guidance_of, mean_values, snap

from umbench.data.phantom import make_phantom_set

LAYOUT = (2, 2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return make_phantom_set(2, 64, seed=4).images


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """Montages of 256 px, where 512 superpixels of a tile have 32 pixels each."""
    return make_phantom_set(3, 256, seed=4).images


def slic(image: np.ndarray, count: int = 32, compactness: float = COMPACTNESS) -> np.ndarray:
    return segment(image, "slic", count, compactness, LAYOUT)


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)


def follows_edges(image: np.ndarray, labels: np.ndarray) -> bool:
    """At most 0.4 of the variance that a plain grid of as many cells leaves."""
    grid = grid_labels(image.shape, int(labels.max()) + 1)
    return unexplained_variance(image, labels) <= 0.4 * unexplained_variance(image, grid)


def untrained() -> list[str]:
    """Algorithms without a network."""
    names = filter(needs_segmentation, algorithm_names())
    return [name for name in names if get(name).part(512) is None]


@pytest.mark.parametrize("name", untrained())
def test_every_registered_algorithm_follows_edges(name: str, large: np.ndarray) -> None:
    for image in large:
        labels = segment(image, name, 512, COMPACTNESS, LAYOUT)
        assert follows_edges(image, labels)
        assert 0.7 * 4 * 512 < labels.max() + 1 < 1.3 * 4 * 512


def test_what_follows_no_edges_is_told_from_what_does(large: np.ndarray) -> None:
    for image in large:
        assert not follows_edges(image, grid_labels(image.shape, 4 * 512))
        assert not follows_edges(image, slic(noise(256), 512))
        assert not follows_edges(image, slic(image, 512, 255 * COMPACTNESS))


def test_the_default_explains_the_phantom_and_leaves_the_grid(large: np.ndarray) -> None:
    left = [unexplained_variance(image, slic(image, 512)) for image in large]
    assert max(left) <= 0.075
    of_noise = slic(noise(256), 512)
    assert all((slic(image, 512) == of_noise).mean() < 0.1 for image in large)
    stiff = 1e6
    same = slic(large[0], 512, stiff) == slic(noise(256), 512, stiff)
    assert same.mean() > 0.9  # two grids are found alike


@pytest.mark.parametrize("beside", [100, 255])
@pytest.mark.parametrize("step", [4, 20, 60])
def test_compactness_is_the_step_that_outweighs_a_seed_distance(step: int, beside: int) -> None:
    """Whatever else the tile holds: `beside` stretches its range."""
    image = np.full((64, 64), 100, dtype=np.uint8)
    image[:, 29:] += step  # between two columns of seeds
    image[:6, :6] = beside
    below = np.s_[16:]

    def crosses(compactness: float) -> bool:
        return (
            unexplained_variance(image[below], segment(image, "slic", 64, compactness)[below]) > 0
        )

    assert not crosses(step / 1.5)
    assert crosses(step * 10)


def test_grey_values_and_compactness_scale_together(images: np.ndarray) -> None:
    image = images[0]
    darker = segment(image / 4, "slic", 64, COMPACTNESS / 4)
    assert (darker == segment(image, "slic", 64, COMPACTNESS)).all()
    assert matched_share(darker, segment(image / 4, "slic", 64, COMPACTNESS)) < 0.9


def test_an_offset_and_the_number_type_change_nothing(images: np.ndarray) -> None:
    image = images[0] // 5
    labels = slic(image)
    assert (slic(image + 200) == labels).all()
    assert (slic(image.astype(np.float32)) == labels).all()


def test_one_bright_pixel_changes_its_surroundings_alone(images: np.ndarray) -> None:
    image = images[0] // 5
    before = segment(image, "slic", 64, COMPACTNESS / 5)
    image[0, 0] = 255
    after = segment(image, "slic", 64, COMPACTNESS / 5)
    assert matched_share(before[32:], after[32:]) > 0.97
    stretched = segment(image, "slic", 64, COMPACTNESS)  # five times the range, as if stretched
    assert matched_share(before[32:], stretched[32:]) < 0.9


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_tile_becomes_nearly_equal_cells(level: int, images: np.ndarray) -> None:
    image = images[0].copy()
    image[:32, :32] = level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = slic(image)
    sizes = np.bincount(labels[:32, :32].ravel())
    assert 0.6 * 32 < len(sizes) < 1.5 * 32
    assert sizes.min() > 0.4 * sizes.mean() and sizes.max() < 2 * sizes.mean()
    assert (mean_values(image, labels)[:32, :32] == level).all()


def test_almost_flat_is_flat() -> None:
    image = np.full((32, 32), 77.0)
    image[3, 3] += 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = segment(image, "slic", 16, COMPACTNESS)
    assert (labels == segment(np.full((32, 32), 77.0), "slic", 16, COMPACTNESS)).all()


def test_labels_count_from_zero_without_gaps(images: np.ndarray) -> None:
    for image in images:
        labels = slic(image)
        assert labels.dtype == np.int32
        assert (np.unique(labels) == np.arange(labels.max() + 1)).all()
        assert 0.6 * 4 * 32 < labels.max() + 1 < 1.4 * 4 * 32


def test_no_superpixel_crosses_a_tile_border(images: np.ndarray) -> None:
    labels = slic(images[0], 16)
    quarters = [labels[:32, :32], labels[:32, 32:], labels[32:, :32], labels[32:, 32:]]
    sets = [set(np.unique(q)) for q in quarters]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_a_tile_depends_on_itself_alone(images: np.ndarray) -> None:
    changed = images[0].copy()
    changed[32:, 32:] = changed[32:, 32:][::-1] // 3
    assert (slic(images[0])[:32] == slic(changed)[:32]).all()


def test_an_image_that_the_layout_does_not_divide() -> None:
    with pytest.raises(ValueError, match="does not divide into 2 x 2 tiles"):
        segment(np.zeros((33, 32), np.uint8), "slic", 16, COMPACTNESS, LAYOUT)


def test_threads_do_not_disturb_each_other(images: np.ndarray) -> None:
    work = [image for image in images] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(slic, work))
    assert all((labels == slic(image)).all() for image, labels in zip(work, found, strict=True))


def test_means_and_clusters_as_the_listing_says(images: np.ndarray) -> None:
    for image in images:
        labels = slic(image)
        mask = cluster(mean_values(image, labels), 50)
        for number in np.unique(labels):
            where = labels == number
            assert (mask[where] == int(image[where].mean() / 50) * 50).all()


def test_none_is_the_image_itself(images: np.ndarray) -> None:
    assert not needs_segmentation("none") and needs_segmentation("slic")
    assert (guidance_of(images[0], None, 0) == images[0]).all()
    assert (guidance_of(images[0], None, 50) == images[0] // 50 * 50).all()
    with pytest.raises(ValueError, match="take the image itself"):
        segment(images[0], "none", 16, COMPACTNESS)


def test_t_zero_keeps_whole_means_and_larger_t_leaves_fewer_values(images: np.ndarray) -> None:
    labels = slic(images[0])
    means = mean_values(images[0], labels)
    assert (guidance_of(images[0], labels, 0) == np.rint(means)).all()
    masks = [guidance_of(images[0], labels, t) for t in (0, 10, 50, 100)]
    assert all(mask.dtype == np.uint8 for mask in masks)
    counts = [len(np.unique(mask)) for mask in masks]
    assert counts[0] > counts[1] > counts[2] > counts[3]
    for t in (-1, 256):
        with pytest.raises(ValueError, match="t must lie"):
            cluster(means, t)


def test_snapped_values_are_values_that_cluster_gives() -> None:
    values = np.linspace(0, 255, 1000)
    assert set(snap(values, 50)) == set(cluster(values, 50))
    assert (snap(values, 0) == values).all()


def test_an_unknown_algorithm_names_the_nearest(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="did you mean 'slic'"):
        segment(images[0], "slik", 16, COMPACTNESS)


def test_measures_of_quality_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1]] * 2)
    labels = np.array([[0, 0, 0, 1]] * 2)  # of the left superpixel's 6 pixels 2 lie outside
    assert under_segmentation_error(labels, truth) == pytest.approx((2 + 2) / 8)
    assert under_segmentation_error(truth, truth) == 0
    assert (boundary_recall(labels, truth), boundary_recall(truth, truth)) == (0, 1)
    assert np.isnan(boundary_recall(labels, truth * 0))
    assert boundary_density(labels) == 2 / 10
    assert matched_share(labels, truth) == 6 / 8 and matched_share(1 - truth, truth) == 1
    image = np.array([[0, 0, 4, 8]] * 2)
    left = 2 * (2**2 + 2**2) / 8  # the right one holds 4 and 8
    assert unexplained_variance(image, truth) == pytest.approx(left / image.var())
    assert unexplained_variance(image * 0, truth) == 0


@pytest.mark.parametrize(("shape", "count"), [((64, 64), 121), ((30, 50), 7), ((8, 8), 64)])
def test_a_plain_grid_has_as_many_cells_as_asked(shape: tuple[int, int], count: int) -> None:
    grid = grid_labels(shape, count)
    cells = int(grid.max()) + 1
    assert count <= cells < 1.3 * count
    sizes = np.bincount(grid.ravel())
    assert len(sizes) == cells and sizes.min() > 0.5 * sizes.max()
