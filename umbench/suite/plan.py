"""Expand a suite to a plan: which stages, with which parameters, fed by which others."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umbench_baselines.entries import PARTS, Entry, get

from umbench.errors import InputError
from umbench.pipeline import Plan, Stage
from umbench.suite.preflight import FOLDS, Outline, check, outline
from umbench.suite.schema import Suite

if TYPE_CHECKING:
    import pandas as pd

TASK_EXTRACTORS = ("sex", "age", "source")
AGE_BOUNDS = (44, 64, 74)
"""Of `umbench_metrics.extractors.task`, which is too heavy to import for a plan."""
PSI = {"quick": 1.0, "small": 1.0, "paper": 0.7}


@dataclass(frozen=True)
class Method:
    """One row of the leaderboard at one training seed: who made the images, from which stage."""

    name: str
    seed: int
    stage: str
    kind: str
    entry: str = ""


def build_plan(suite: Suite) -> Plan:
    """All stages of a suite in topological order.

    Every set is scored at the same number of images: the smallest of `samples`, the validation
    and the test split, so that the bias of small samples is the same for all.
    """
    builder = _Builder(suite, outline(suite))
    builder.data()
    methods = builder.methods()
    builder.panel(methods)
    return Plan(name=suite.name, stages=tuple(builder.stages.values()), final="board")


class _Builder:
    """Adds stages by id; adding one twice is harmless, which is how arms share parts."""

    def __init__(self, suite: Suite, found: Outline) -> None:
        self.suite = suite
        self.scale = suite.training.scale
        self.stages: dict[str, Stage] = {}
        self.entries = [(get(g.id), g.options()) for g in suite.generators]
        split = check(suite, found)
        self.extractors, self.left_out = usable_extractors(suite, found, split)

    def add(self, id: str, kind: str, params: dict[str, Any], **inputs: str) -> str:
        self.stages.setdefault(id, Stage(id=id, kind=kind, params=params, inputs=inputs))
        return id

    def data(self) -> None:
        suite = self.suite
        if suite.data.phantom is not None:
            self.add("data", "phantom", suite.data.phantom.model_dump())
        else:
            self.stages["data"] = folder_stage(Path(suite.data.folder or ""))
        splits = None if suite.splits == "given" else suite.splits.model_dump()
        self.add(
            "split",
            "split",
            {"splits": splits, "labelled": suite.labelled, "seed": suite.split_seed},
            data="data",
        )

    def guidance(self) -> str:
        g = self.suite.guidance
        self.add(
            "superpixels",
            "superpixels",
            {"algorithm": g.superpixels, "count": g.count, "compactness": g.compactness},
            data="data",
        )
        return self.add("guidance", "guidance", {"t": g.t}, superpixels="superpixels")

    def segmenter(self, seed: int) -> str:
        return self.add(
            f"segment real seed {seed}",
            "segment",
            {"preset": self.suite.training.preset, "scale": self.scale, "seed": seed},
            data="data",
            split="split",
        )

    def part(self, name: str, seed: int, untrained: bool, options: dict[str, Any]) -> str:
        part = PARTS[name]
        inputs = {"data": "data", "split": "split"}
        if part.guidance:
            inputs["guidance"] = self.guidance()
        for need in part.needs:
            inputs[need] = (
                self.segmenter(seed)
                if need == "segmenter"
                else self.part(need, seed, untrained, {})
            )
        params = {
            "part": name,
            "preset": self.suite.training.preset,
            "scale": self.scale,
            "precision": self.suite.training.precision,
            "seed": seed,
            "untrained": untrained,
            "t": self.suite.guidance.t if part.guidance else 0,
            "options": options if part.kind == "pixel-classifier" else {},
        }
        state = "untrained" if untrained else "train"
        return self.add(f"{state} {name} seed {seed}", "train", params, **inputs)

    def sample(
        self, entry: Entry, options: dict[str, Any], seed: int, untrained: bool = False
    ) -> str:
        inputs = {"data": "data", "split": "split"}
        if entry.conditions == "guidance":
            inputs["guidance"] = self.guidance()
        for name in entry.parts:
            inputs[name] = self.part(name, seed, untrained, options)
        uses_t = any(PARTS[name].guidance for name in entry.parts)
        params = {
            "entry": entry.name,
            "count": self.suite.samples,
            "seed": seed,
            "psi": PSI[self.suite.training.preset],
            "t": self.suite.guidance.t if uses_t else 0,
        }
        label = "untrained " if untrained else ""
        return self.add(f"sample {label}{entry.name} seed {seed}", "sample", params, **inputs)

    def methods(self) -> list[Method]:
        """Rows of the leaderboard: trained entries, then controls."""
        rows = []
        controls = self.suite.controls
        for seed in self.suite.training.seeds:
            for entry, options in self.entries:
                stage = self.sample(entry, options, seed)
                rows.append(Method(entry.name, seed, stage, "generator", entry.name))
            if "untrained" in controls:
                for entry, options in self.entries:
                    stage = self.sample(entry, options, seed, untrained=True)
                    rows.append(
                        Method(f"{entry.name} untrained", seed, stage, "untrained", entry.name)
                    )
            for control in ("real", "degraded"):
                if control in controls:
                    stage = self.add(
                        f"control {control}",
                        "control",
                        {"control": control, "count": self.suite.samples, "seed": 0},
                        data="data",
                        split="split",
                    )
                    rows.append(Method(control, seed, stage, control))
        return rows

    def networks(self, extractor: str, seed: int) -> dict[str, str]:
        """Stages of the trained networks behind a task extractor: one, or one per fold."""
        if extractor not in TASK_EXTRACTORS:
            return {}
        base = {
            "task": extractor,
            "preset": self.suite.training.preset,
            "scale": self.scale,
            "seed": seed,
        }
        if extractor != "source":
            stage = self.add(
                f"extractor {extractor}", "extractor", {**base, "seed": 0}, data="data",
                split="split",
            )  # fmt: skip
            return {"network": stage}
        sources = [entry.name for entry, _ in self.entries]
        samples = {
            f"samples {entry.name}|": self.sample(entry, options, seed)
            for entry, options in self.entries
        }
        if "degraded" in self.suite.controls:
            sources.append("degraded")
        if "untrained" in self.suite.controls:
            sources.append("untrained")
            samples |= {
                f"samples untrained|{entry.name}": self.sample(entry, options, seed, untrained=True)
                for entry, options in self.entries
            }
        return {
            f"network {fold}": self.add(
                f"extractor source fold {fold} seed {seed}",
                "extractor",
                {**base, "sources": sources, "fold": fold},
                data="data",
                split="split",
                **samples,
            )
            for fold in range(FOLDS)
        }

    def features(self, method: Method | None, extractor: str, seed: int) -> str:
        networks = self.networks(extractor, seed)
        who = "reference" if method is None else method.name
        depends_on_seed = extractor == "source" or (method is not None and method.entry)
        tail = f" seed {seed}" if depends_on_seed else ""
        params = {
            "extractor": extractor,
            "resolutions": list(self.suite.panel.resolutions),
            "count": None if method is None else self.suite.samples,
            "reference": method is None,
            "split": "test" if method is None else None,
        }
        inputs = {"images": "data" if method is None else method.stage, "split": "split"}
        return self.add(
            f"features {who} {extractor}{tail}", "features", params, **inputs, **networks
        )

    def panel(self, methods: list[Method]) -> None:
        """Scores, comparisons, utility and the final tables."""
        suite = self.suite
        rows, roles = [], {}
        for method in methods:
            for extractor in self.extractors:
                role = f"{method.name}|{method.seed}|{extractor}"
                roles[role] = self.features(method, extractor, method.seed)
                roles[f"reference|{method.seed}|{extractor}"] = self.features(
                    None, extractor, method.seed
                )
            rows.append(
                {
                    "name": method.name,
                    "seed": method.seed,
                    "kind": method.kind,
                    "entry": method.entry,
                    "conditions": get(method.entry).conditions if method.entry else None,
                }
            )
        panel = {
            "methods": rows,
            "extractors": list(self.extractors),
            "resolutions": list(suite.panel.resolutions),
            "seeds": list(suite.training.seeds),
            "metrics": list(suite.metrics),
            "statistics": suite.statistics.model_dump(),
            "annotators": {e.name: e.annotator for e, _ in self.entries if e.annotator},
        }
        self.add("scores", "scores", panel, split="split", **roles)
        utility = self.utility() if "utility" in suite.metrics else {}
        self.add("compare", "compare", panel, scores="scores", **roles, **utility)
        samples = {f"samples {m.name}|{m.seed}": m.stage for m in methods}
        translators = {
            f"translator {name}": self.part(name, suite.training.seeds[0], False, {})
            for entry, _ in self.entries
            for name in entry.parts
            if PARTS[name].kind == "translation"
        }
        self.add(
            "board",
            "board",
            {
                **panel,
                "suite": suite.model_dump(mode="json", exclude_none=True),
                "left_out": self.left_out,
            },
            scores="scores",
            compare="compare",
            data="data",
            split="split",
            **utility,
            **samples,
            **translators,
        )

    def utility(self) -> dict[str, str]:
        roles = {}
        for seed in self.suite.training.seeds:
            roles[f"dice real|{seed}"] = self.segmenter(seed)
            for entry, options in self.entries:
                roles[f"dice real+{entry.name}|{seed}"] = self.add(
                    f"segment real+{entry.name} seed {seed}",
                    "segment",
                    {"preset": self.suite.training.preset, "scale": self.scale, "seed": seed},
                    data="data",
                    split="split",
                    synthetic=self.sample(entry, options, seed),
                )
        return roles


def usable_extractors(
    suite: Suite, found: Outline, split: pd.Series
) -> tuple[list[str], list[dict[str, str]]]:
    """Extractors that this machine and this set can serve, and the others with the reason."""
    used, left_out = [], []
    train = list(dict.fromkeys(found.table.loc[split == "train", "subject"]))
    for name in suite.panel.extractors:
        if name in ("sex", "age"):
            ready = _several_known(name, found.people(train))
            why = f"fewer than two classes of {name} are known in train"
        elif name == "source":
            ready, why = True, ""
        else:
            ready, why = _weights(name)
        if ready:
            used.append(name)
        else:
            left_out.append({"what": f"extractor {name}", "why": why})
    if not used:
        raise InputError(
            "panel.extractors: none can be used here: "
            + "; ".join(f"{item['what']}: {item['why']}" for item in left_out)
        )
    return used, left_out


@functools.cache
def _weights(name: str) -> tuple[bool, str]:
    """Whether an extractor's weights are here, or where they would have to be.

    InputError where they are not the pinned ones, which would else be found after all trainings.
    """
    from umbench_metrics.extractors import BUILT_IN, available, check_sha256

    ready, where = available(name)
    if ready and name in BUILT_IN:
        module = importlib.import_module(BUILT_IN[name])
        try:
            check_sha256(module.weights_path(), module.SHA256)
        except ValueError as error:
            raise InputError(f"extractor {name}: {error}") from None
    return ready, where


def _several_known(name: str, people: Iterator[tuple[str, float]]) -> bool:
    """Whether two classes of sex or age group occur; looks no further than needed."""
    seen: set[object] = set()
    for sex, age in people:
        if name == "sex":
            seen |= {sex} - {""}
        elif age == age:  # known
            seen.add(sum(age > bound for bound in AGE_BOUNDS))
        if len(seen) > 1:
            return True
    return False


def folder_stage(path: Path) -> Stage:
    """The stage that reads a set from a folder, keyed by the folder's content."""
    from umbench.data.annotated_set import content_fingerprint

    return Stage(
        id="data",
        kind="folder",
        params={"fingerprint": content_fingerprint(path)},
        local={"path": str(path)},
    )
