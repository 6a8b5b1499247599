"""Expand a suite to a plan: which stages, with which parameters, fed by which others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbench_baselines.entries import PARTS, Entry, composed, get
from umbench_baselines.guidance.superpixels import needs_segmentation

from umbench.pipeline import Plan, Stage
from umbench.suite.preflight import FOLDS, Outline, check, outline
from umbench.suite.schema import PAIR_CONTROLS, GeneratorChoice, Suite, View
from umbench.suite.usable import perceptual_network, usable_extractors

TASK_EXTRACTORS = ("sex", "age", "source")
PSI = {"quick": 1.0, "small": 1.0, "paper": 0.7}


@dataclass(frozen=True)
class Row:
    """A generator of the suite: what it is called, its entry, its options and its parts.

    options: those that change something. parts: part -> the options that concern it.
    """

    name: str
    entry: Entry
    options: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, choice: GeneratorChoice) -> Row:
        """The row of one choice."""
        entry, plain = get(choice.id), composed(get(choice.id), {})
        said = {k: v for k, v in choice.options().items() if composed(entry, {k: v}) != plain}
        return cls(choice.name, entry, said, composed(entry, said))

    @property
    def masks(self) -> bool:
        """Whether its images come with masks."""
        return self.options.get("heads") != "image"

    @property
    def uses_t(self) -> bool:
        """Whether any part sees unsupervised masks."""
        return any(PARTS[part].guidance for part in self.parts)


@dataclass(frozen=True)
class Method:
    """One row of the leaderboard at one training seed: who made the images, from which stage."""

    name: str
    seed: int
    stage: str
    kind: str
    row: Row | None = None


def build_plan(suite: Suite) -> Plan:
    """All stages of a suite in topological order.

    Every set is scored at the same number of images: the smallest of `samples`, the validation
    and the test split, so that the bias of small samples is the same for all.
    """
    builder = _Builder(suite, outline(suite))
    builder.data()
    builder.panel(builder.methods())
    return Plan(name=suite.name, stages=tuple(builder.stages.values()), final="board")


class _Builder:
    """Adds stages by id; adding one twice is harmless, which is how arms share parts."""

    def __init__(self, suite: Suite, found: Outline) -> None:
        self.suite = suite
        self.stages: dict[str, Stage] = {}
        self.rows = [Row.of(choice) for choice in suite.generators]
        split = check(suite, found)
        self.validation = int((split == "validation").sum())
        self.views, self.left_out = usable_extractors(suite, found, split)

    def add(self, id: str, kind: str, params: dict[str, Any], **inputs: str) -> str:
        """ValueError where another stage has this id: parameters are missing in it."""
        stage = Stage(id=id, kind=kind, params=params, inputs=inputs)
        if self.stages.setdefault(id, stage) != stage:
            raise ValueError(f"two different stages are called {id!r}")
        return id

    def training(self, seed: int) -> dict[str, Any]:
        """What every trained network depends on."""
        said = self.suite.training
        return {
            "preset": said.preset,
            "scale": said.scale,
            "precision": said.precision,
            "seed": seed,
        }

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
        """Unsupervised masks; without superpixels the image itself is clustered."""
        g = self.suite.guidance
        inputs = {"data": "data"}
        if needs_segmentation(g.superpixels):
            params = {"algorithm": g.superpixels, "count": g.count, "compactness": g.compactness}
            inputs["superpixels"] = self.add("superpixels", "superpixels", params, data="data")
        return self.add("guidance", "guidance", {"t": g.t}, **inputs)

    def segmenter(self, seed: int, arm: str = "", pairs: int | None = None, **inputs: str) -> str:
        """The utility network on real pairs, alone or with those that an arm adds.

        pairs: how many further real pairs a control adds; None for every other arm.
        """
        params = {**self.training(seed), "pairs": arm if pairs else None, "count": pairs}
        name = f"segment real{f'+{arm}' if arm else ''} seed {seed}"
        return self.add(name, "segment", params, data="data", split="split", **inputs)

    def part(
        self, name: str, parts: Mapping[str, Mapping[str, Any]], seed: int, untrained: bool = False
    ) -> str:
        part, options = PARTS[name], dict(parts[name])
        inputs = {"data": "data", "split": "split"}
        if part.guidance:
            inputs["guidance"] = self.guidance()
        for need in part.needs:
            inputs[need] = (
                self.segmenter(seed)
                if need == "segmenter"
                else self.part(need, parts, seed, untrained)
            )
        translates = part.kind == "translation"
        params = {
            "part": name,
            **self.training(seed),
            "untrained": untrained,
            "t": self.suite.guidance.t if part.guidance else 0,
            "options": options,
            "perceptual": (
                perceptual_network(self.suite.training.perceptual) if translates else None
            ),
        }
        words = ["untrained" if untrained else "train", name, *switches(options), f"seed {seed}"]
        return self.add(" ".join(words), "train", params, **inputs)

    def sample(self, row: Row, seed: int, untrained: bool = False) -> str:
        inputs = {"data": "data", "split": "split"}
        if row.entry.conditions == "guidance":
            inputs["guidance"] = self.guidance()
        for name in row.parts:
            inputs[name] = self.part(name, row.parts, seed, untrained)
        params = {
            "entry": row.entry.name,
            "name": row.name,
            "count": self.suite.samples,
            "seed": seed,
            "psi": PSI[self.suite.training.preset],
            "t": self.suite.guidance.t if row.uses_t else 0,
            "options": dict(row.options),
        }
        label = "untrained " if untrained else ""
        return self.add(f"sample {label}{row.name} seed {seed}", "sample", params, **inputs)

    def methods(self) -> list[Method]:
        """Rows of the leaderboard: trained entries, then controls."""
        methods = []
        controls = self.suite.controls
        for seed in self.suite.training.seeds:
            for row in self.rows:
                methods.append(Method(row.name, seed, self.sample(row, seed), "generator", row))
            for row in self.rows if "untrained" in controls else ():
                stage = self.sample(row, seed, untrained=True)
                methods.append(Method(f"{row.name} untrained", seed, stage, "untrained", row))
            for control in ("real", "degraded"):
                if control in controls:
                    params = {"control": control, "count": self.suite.samples, "seed": 0}
                    stage = self.add(
                        f"control {control}", "control", params, data="data", split="split"
                    )
                    methods.append(Method(control, seed, stage, control))
        return methods

    def networks(self, extractor: str, seed: int) -> dict[str, str]:
        """Stages of the trained networks behind a task extractor: one, or one per fold."""
        if extractor not in TASK_EXTRACTORS:
            return {}
        inputs = {"data": "data", "split": "split"}
        if extractor != "source":
            params = {"task": extractor, **self.training(0)}
            return {"network": self.add(f"extractor {extractor}", "extractor", params, **inputs)}
        sources = [row.name for row in self.rows]
        inputs |= {f"samples {row.name}|": self.sample(row, seed) for row in self.rows}
        if "degraded" in self.suite.controls:
            sources.append("degraded")
        if "untrained" in self.suite.controls:
            sources.append("untrained")
            inputs |= {
                f"samples untrained|{row.name}": self.sample(row, seed, untrained=True)
                for row in self.rows
            }
        out = {}
        for fold in range(FOLDS):
            params = {"task": extractor, **self.training(seed), "sources": sources, "fold": fold}
            id = f"extractor source fold {fold} seed {seed}"
            out[f"network {fold}"] = self.add(id, "extractor", params, **inputs)
        return out

    def features(self, method: Method | None, view: View, seed: int) -> str:
        networks = self.networks(view.id, seed)
        who = "reference" if method is None else method.name
        depends_on_seed = view.id == "source" or (method is not None and method.row)
        params = {
            "extractor": view.id,
            "input": view.input,
            "resolutions": list(self.suite.panel.resolutions),
            "count": None if method is None else self.suite.samples,
            "reference": method is None,
            "split": "test" if method is None else None,
        }
        inputs = {"images": "data" if method is None else method.stage, "split": "split"}
        tail = f" seed {seed}" if depends_on_seed else ""
        return self.add(
            f"features {who} {view.name}{tail}", "features", params, **inputs, **networks
        )

    def panel(self, methods: list[Method]) -> None:
        """Scores, comparisons, utility and the final tables."""
        suite, roles = self.suite, {}
        for method in methods:
            for view in self.views:
                role = f"{method.name}|{method.seed}|{view.name}"
                roles[role] = self.features(method, view, method.seed)
                roles[f"reference|{method.seed}|{view.name}"] = self.features(
                    None, view, method.seed
                )
        seen = {
            "methods": [_shown(method) for method in methods],
            "extractors": [view.name for view in self.views],
            "resolutions": list(suite.panel.resolutions),
            "seeds": list(suite.training.seeds),
        }
        self.add("scores", "scores", seen, **roles)
        utility = self.utility() if "utility" in suite.metrics else {}
        compared = {
            **seen,
            "metrics": list(suite.metrics),
            "statistics": suite.statistics.model_dump(),
            "pairs": {f"real+{name}": count for name, count in self.pair_controls().items()},
        }
        self.add("compare", "compare", compared, scores="scores", **roles, **utility)
        self.board(methods, compared, utility)

    def board(
        self, methods: list[Method], compared: dict[str, Any], utility: dict[str, str]
    ) -> None:
        """The last stage: it shows what all others made."""
        suite = self.suite
        translators: dict[str, list[str]] = {}
        several = len(suite.training.seeds) > 1
        for row in self.rows:
            for name in row.parts:
                if PARTS[name].kind == "translation":
                    for seed in suite.training.seeds:
                        stage = self.part(name, row.parts, seed)
                        who = f"{row.name} (seed {seed})" if several else row.name
                        translators.setdefault(stage, []).append(who)
        params = {
            **compared,
            "suite": suite.model_dump(mode="json", exclude_none=True),
            "left_out": self.left_out + self.without_masks(),
            "psi": PSI[suite.training.preset],
            "annotators": {r.name: r.entry.annotator for r in self.rows if r.entry.annotator},
            "translators": translators,
        }
        shown = {"superpixels": "superpixels"} if "superpixels" in self.stages else {}
        self.add(
            "board", "board", params, scores="scores", compare="compare", data="data",
            split="split", **utility, **shown, **{stage: stage for stage in translators},
            **{f"samples {m.name}|{m.seed}": m.stage for m in methods},
        )  # fmt: skip

    def without_masks(self) -> list[dict[str, str]]:
        """Rows whose images cannot train a segmenter."""
        if "utility" not in self.suite.metrics:
            return []
        why = "it makes images alone, without the masks that a segmenter learns from"
        return [
            {"what": f"utility of {row.name}", "why": why} for row in self.rows if not row.masks
        ]

    def pair_controls(self) -> dict[str, int]:
        """Controls of the utility, and how many real pairs each adds.

        As many as a generator, but where only the validation split has new ones.
        """
        held_out = min(self.suite.samples, self.validation)
        return {
            name: self.suite.samples if name == "copies" else held_out
            for name in PAIR_CONTROLS
            if name in self.suite.controls
        }

    def utility(self) -> dict[str, str]:
        """Dice of real pairs alone and with those of every arm."""
        roles = {}
        for seed in self.suite.training.seeds:
            roles[f"dice real|{seed}"] = self.segmenter(seed)
            for row in self.rows:
                if row.masks:
                    roles[f"dice real+{row.name}|{seed}"] = self.segmenter(
                        seed, row.name, synthetic=self.sample(row, seed)
                    )
            for name, count in self.pair_controls().items():
                roles[f"dice real+{name}|{seed}"] = self.segmenter(seed, name, count)
        return roles


def switches(options: Mapping[str, Any]) -> list[str]:
    """Options as words, in a fixed order.

    >>> switches({"supervision": "supervised", "paired": False})
    ['paired=false', 'supervision=supervised']
    """
    return [f"{key}={str(options[key]).lower()}" for key in sorted(options)]


def _shown(method: Method) -> dict[str, Any]:
    """What the tables need to know of a row."""
    entry = method.row.entry if method.row else None
    return {
        "name": method.name,
        "seed": method.seed,
        "kind": method.kind,
        "entry": entry.name if entry else "",
        "conditions": entry.conditions if entry else None,
    }


def folder_stage(path: Path) -> Stage:
    """The stage that reads a set from a folder, keyed by the folder's content."""
    from umbench.data.annotated_set import content_fingerprint

    return Stage(
        id="data",
        kind="folder",
        params={"fingerprint": content_fingerprint(path)},
        local={"path": str(path)},
    )
