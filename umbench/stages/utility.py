"""Stage `utility`: Dice of every arm, and tests of each against real images alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from umbench.pipeline import Context
from umbench.stages.artifacts import save_table
from umbench.statistics.resampling import sign_flip_test
from umbench.statistics.table import adjusted, test_row

if TYPE_CHECKING:
    from umbench.stages.values import Arm, Comparison, Utility


def run(context: Context[Utility]) -> None:
    """Writes dice.csv and tests.csv."""
    stage = context.stage
    dice = read_dice(context, stage.arms)
    save_table(context.output / "dice.csv", dice)
    rows = dice_tests(dice, stage.tests, {arm.name for arm in stage.arms if arm.control})
    save_table(context.output / "tests.csv", adjusted(rows, stage.tests.alpha))


def read_dice(context: Context[Utility], arms: tuple[Arm, ...]) -> pd.DataFrame:
    """Dice per test image, class and arm."""
    parts = []
    for arm in arms:
        text = {"subject": str, "image": str}
        path = context.folder(arm.segment) / "dice.csv"
        table = pd.read_csv(path, keep_default_na=False, dtype=text)
        table.insert(0, "seed", arm.seed)
        table.insert(0, "method", arm.name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def dice_tests(
    dice: pd.DataFrame, tests: Comparison, controls: Collection[str]
) -> list[dict[str, Any]]:
    """Each augmented arm against real data alone, over subjects; with lesions alone as well.

    Controls are a family of their own: naming them takes nothing from the generators' tests.
    """
    rows = []
    for region in dict.fromkeys(dice["region"]):
        for label, part in (
            (region, dice[dice["region"] == region]),
            (f"{region}, where present", dice[(dice["region"] == region) & _in_truth(dice)]),
        ):
            table = part.pivot_table(index="subject", columns="method", values="value")
            for arm in [m for m in dict.fromkeys(dice["method"]) if m != "real"]:
                if arm not in table or not len(table):
                    continue
                x, y = table[arm].to_numpy(), table["real"].to_numpy()
                test = sign_flip_test(x - y, permutations=tests.permutations, seed=0)
                family = f"each {'control' if arm in controls else 'arm'} against real"
                rows.append(test_row(f"dice {label}", family, arm, "real", x, y, test))
    return rows


def _in_truth(dice: pd.DataFrame) -> pd.Series:
    return ~dice["empty"].isin(["both", "truth"])
