"""What a suite costs before it is run: `umbench plan SUITE --cost`."""

from umbench.suite.cost.report import device_count, explain, render, totals
from umbench.suite.cost.stages import StageCost, stage_costs

__all__ = ["StageCost", "device_count", "explain", "render", "stage_costs", "totals"]
