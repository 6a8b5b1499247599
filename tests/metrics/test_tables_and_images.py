"""Dice, normalisation, variety, images and the degraded control."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from umbench_metrics.degrade import Degraded, degrade
from umbench_metrics.images import Joined, check_images, resize
from umbench_metrics.mm_std import feature_std
from umbench_metrics.overlap import dice
from umbench_metrics.scales import normalise


def test_dice_equals_monai() -> None:
    from monai.metrics import DiceMetric
    from monai.networks.utils import one_hot

    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(3, size=(2, 6, 9, 7))
    truth[2][truth[2] == 2] = 0
    predicted[3][predicted[3] == 1] = 0
    table = dice(predicted.astype(np.uint8), truth, 3)
    metric = DiceMetric(include_background=True, reduction="none", ignore_empty=True)
    theirs = metric(
        one_hot(torch.tensor(predicted)[:, None], 3), one_hot(torch.tensor(truth)[:, None], 3)
    ).numpy()
    known = ~np.isnan(theirs)
    np.testing.assert_allclose(table.values[known], theirs[known], rtol=1e-6)
    np.testing.assert_array_equal(known, table.in_truth)
    assert table.values[2, 2] == 0.0
    assert table.values[3, 1] == 0.0


def test_dice_of_empty_masks() -> None:
    truth = np.zeros((2, 4, 4), dtype=np.uint8)
    predicted = truth.copy()
    predicted[1, 0, 0] = 1
    table = dice(predicted, truth, 3)
    np.testing.assert_array_equal(table.values[:, 1:], [[1, 1], [0, 1]])
    assert table.empty_truth.tolist() == [0, 2, 2]
    assert table.empty_both.tolist() == [0, 1, 2]


def test_dice_errors() -> None:
    masks = np.full((1, 2, 2), 3)
    with pytest.raises(ValueError, match="two"):
        dice(masks, masks[:, :1], 4)
    with pytest.raises(ValueError, match=r"predicted.*0 \.\. 2"):
        dice(masks, masks * 0, 3)


@dataclass(frozen=True)
class Numbered:
    """Images of 8 px whose value says which they are; notes what is asked of them."""

    start: int
    count: int
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        self.asked.extend(rows.tolist())
        assert (rows < self.count).all()
        values = torch.from_numpy((self.start + rows) / 100).float()
        return values[:, None, None, None].expand(-1, 1, 8, 8)


def scores() -> pd.DataFrame:
    rows = [
        ("real", "a", 1.0), ("x", "a", 3.0), ("degraded", "a", 5.0),
        ("real", "b", 0.0), ("x", "b", 20.0), ("degraded", "b", 10.0),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "observation", "value"], index=[5, 4, 3, 2, 1, 0])


def test_normalise() -> None:
    table = scores()
    anchored = normalise(table, "anchored")
    assert anchored["value"].tolist() == [0, 0.5, 1, 0, 2, 1]
    assert anchored.index.tolist() == table.index.tolist()
    assert normalise(table, "minmax")["value"].tolist() == [0, 0.5, 1, 0, 1, 0.5]
    rows = normalise(table, "l2-rows")
    norms = rows.groupby("method")["value"].apply(lambda v: float((v**2).sum()))
    np.testing.assert_allclose(norms, 1.0)
    assert table.equals(scores())


def test_another_method_moves_no_anchored_row() -> None:
    extra = pd.DataFrame({"method": "y", "observation": ["a", "b"], "value": [99.0, -9.0]})
    more = normalise(pd.concat([scores(), extra]), "anchored")
    pd.testing.assert_frame_equal(more[:6], normalise(scores(), "anchored"))


def test_normalise_errors() -> None:
    with pytest.raises(ValueError, match="no normalisation 'z'"):
        normalise(scores(), "z")
    with pytest.raises(ValueError, match="anchor 'floor'"):
        normalise(scores(), "anchored", floor="floor")
    flat = scores().assign(value=1.0)
    with pytest.raises(ValueError, match="does not score above"):
        normalise(flat, "anchored")
    assert (normalise(flat, "minmax")["value"] == 0).all()


def test_feature_std() -> None:
    x = np.random.default_rng(0).normal(size=(9, 5))
    assert feature_std(x) == pytest.approx(np.sqrt(np.diag(np.cov(x.T))).mean(), rel=1e-12)
    with pytest.raises(ValueError, match="n >= 2"):
        feature_std(x[:1])


def test_resize() -> None:
    images = torch.rand(2, 1, 16, 16)
    assert resize(images, 16) is images
    halved = resize(images, 8)
    assert halved.shape == (2, 1, 8, 8)
    # antialiased: a checkerboard becomes grey where plain sampling would keep a pattern
    board = (torch.arange(32)[:, None] + torch.arange(32)[None]).remainder(2).float()[None, None]
    assert resize(board, 8)[..., 1:-1, 1:-1].sub(0.5).abs().max() < 0.02
    assert resize(torch.ones(1, 1, 4, 6), 9).eq(1).all()


def test_check_images_takes_none_at_all() -> None:
    assert check_images(torch.empty(0, 1, 8, 8)).shape == (0, 1, 8, 8)


def test_degrade() -> None:
    images = torch.rand(3, 1, 64, 64)
    damaged = degrade(images, seed=1)
    assert torch.equal(damaged, degrade(images, seed=1))
    assert not torch.equal(damaged, degrade(images, seed=2))
    assert damaged.min() >= 0 and damaged.max() <= 1
    residual = degrade(torch.full((1, 1, 256, 256), 0.5), seed=0) - 0.5
    assert residual.std() == pytest.approx(0.15, rel=0.02)
    white = degrade(torch.ones(1, 1, 256, 256), seed=0)
    assert white.median() == pytest.approx(0.75, abs=0.01)
    with pytest.raises(ValueError, match="multiples of 8"):
        degrade(torch.rand(1, 1, 20, 20))


def test_damage_follows_from_seed_and_row_number_alone() -> None:
    images = torch.rand(5, 1, 16, 16)
    whole = degrade(images, seed=1)
    assert torch.equal(torch.cat([degrade(images[:2], 1), degrade(images[2:], 1, start=2)]), whole)
    assert not torch.equal(degrade(images[2:], 1), whole[2:])
    same = degrade(images[:1].repeat(3, 1, 1, 1), seed=1)
    assert not torch.equal(same[0], same[1])
    noise = [degrade(torch.full((1, 1, 64, 64), 0.5), 1, row).flatten() for row in range(8)]
    assert torch.corrcoef(torch.stack(noise)).fill_diagonal_(0).abs().max() < 0.1


def test_damaged_when_asked_for() -> None:
    source = Numbered(0, 50)
    view = Degraded(source, seed=3)
    assert len(view) == 50
    rows = np.array([40, 7, 7])
    some = view.batch(rows)
    assert source.asked == [40, 7, 7]
    for image, row in zip(some, rows, strict=True):
        assert torch.equal(image, degrade(Numbered(0, 50).batch(np.array([row])), 3, row)[0])
    assert view.batch(np.arange(0)).shape == (0, 1, 8, 8)


def test_joined_images_come_in_the_order_asked_for() -> None:
    parts = (Numbered(0, 3), Numbered(3, 0), Numbered(3, 4), Numbered(7, 2))
    joined = Joined(parts)
    assert len(joined) == 9
    rows = np.array([8, 0, 3, 2, 6, 0])
    values = joined.batch(rows)[:, 0, 0, 0] * 100
    assert values.round().tolist() == rows.tolist()
    assert [part.asked for part in parts] == [[0, 2, 0], [], [0, 3], [1]]
    assert joined.batch(np.arange(0)).shape == (0, 1, 8, 8)
    with pytest.raises(IndexError, match=r"rows 0 \.\. 9 of 9 images"):
        joined.batch(np.array([0, 9]))
