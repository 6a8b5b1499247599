"""Box plots over observations, as in the paper's Fig. 5."""

from __future__ import annotations

import io

import pandas as pd


def box_plot(scores: pd.DataFrame, score: str, methods: list[str], label: str) -> str:
    """SVG of one box per method over observations, every observation a dot.

    The same scores give the same bytes.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = scores[scores["metric"] == score]
    data = [
        chosen[chosen["method"] == m]
        .groupby(["extractor", "resolution"])["value"]
        .mean()
        .to_numpy()
        for m in methods
    ]
    with plt.rc_context({"svg.hashsalt": "umbench", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(max(4.0, 0.75 * len(methods) + 1), 3.2))
        axes.boxplot(data, showfliers=False, widths=0.55)
        for position, values in enumerate(data, start=1):
            spread = [position + 0.12 * ((i % 5) - 2) / 2 for i in range(len(values))]
            axes.plot(spread, values, "o", ms=3, alpha=0.6, color="#1f6fb2", mew=0)
        axes.set_xticks(range(1, len(methods) + 1), methods, rotation=30, ha="right")
        for tick in axes.get_xticklabels():
            tick.set_parse_math(False)
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=False)
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
