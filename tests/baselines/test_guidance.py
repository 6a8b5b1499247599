"""Algorithm 1 against a slow loop; tiles do not mix; t."""

from __future__ import annotations

import numpy as np
import pytest
from umbench_baselines.guidance.superpixels import superpixels
from umbench_baselines.guidance.unsupervised_mask import cluster, snap, superpixel_means

from umbench.data.phantom import make_phantom_set


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return make_phantom_set(2, 64, seed=4).images


def test_means_and_clusters_as_the_listing_says(images: np.ndarray) -> None:
    labels = superpixels(images, count=32, layout=(2, 2))
    mask = cluster(superpixel_means(images, labels), 50)
    for image, label, got in zip(images, labels, mask, strict=True):
        for number in np.unique(label):
            where = label == number
            assert (got[where] == int(image[where].mean() / 50) * 50).all()


def test_labels_count_from_zero_and_number_about_as_asked(images: np.ndarray) -> None:
    labels = superpixels(images, count=32, layout=(2, 2))
    for label in labels:
        assert (np.unique(label) == np.arange(label.max() + 1)).all()
        assert 0.4 * 4 * 32 < label.max() + 1 < 1.6 * 4 * 32


def test_no_superpixel_crosses_a_tile_border(images: np.ndarray) -> None:
    labels = superpixels(images[:1], count=16, layout=(2, 2))[0]
    quarters = [labels[:32, :32], labels[:32, 32:], labels[32:, :32], labels[32:, 32:]]
    sets = [set(np.unique(q)) for q in quarters]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_a_tile_depends_on_itself_alone(images: np.ndarray) -> None:
    changed = images[:1].copy()
    changed[0, 32:, 32:] = changed[0, 32:, 32:][::-1]
    before, after = (superpixels(i, count=16, layout=(2, 2))[0] for i in (images[:1], changed))
    assert (before[:32] == after[:32]).all()


def test_none_is_the_image_itself(images: np.ndarray) -> None:
    labels = superpixels(images, "none", layout=(2, 2))
    assert (superpixel_means(images, labels) == images).all()


def test_t_zero_keeps_means_and_larger_t_leaves_fewer_values(images: np.ndarray) -> None:
    means = superpixel_means(images, superpixels(images, count=32, layout=(2, 2)))
    assert (cluster(means, 0) == means).all()
    counts = [len(np.unique(cluster(means, t))) for t in (10, 50, 100)]
    assert counts[0] > counts[1] > counts[2]
    with pytest.raises(ValueError, match="t must lie"):
        cluster(means, 256)


def test_snapped_values_are_values_that_cluster_gives() -> None:
    values = np.linspace(0, 255, 1000)
    assert set(snap(values, 50)) == set(cluster(values, 50))
    assert (snap(values, 0) == values).all()


def test_an_unknown_algorithm_names_the_nearest(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="did you mean 'slic'"):
        superpixels(images, "slik")
