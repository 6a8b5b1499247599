"""The suite's schema: what a YAML file may say, with bounds and cross-checks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from umbench_baselines.guidance.superpixels import COMPACTNESS

from umbench.data.documents import fault, in_our_words, nearest

Control = Literal["real", "degraded", "untrained", "copies", "held-out", "shuffled"]
UTILITY = "utility"
"""The metric that is not of features: Dice of a segmenter that is trained on images as well."""
PairControl = Literal["copies", "held-out", "shuffled"]
PAIR_CONTROLS: tuple[PairControl, ...] = get_args(PairControl)
"""Arms of the utility: the real pairs again, real pairs that were held out, pairs that lie."""
RESERVED = (*get_args(Control), "reference", "test-images")
"""Names of rows and pictures that no generator may have."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _power_of_two(size: int) -> int:
    if size & (size - 1):
        raise ValueError("must be a power of two, since the networks halve and double it")
    return size


Side = Annotated[int, AfterValidator(_power_of_two)]
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,-]*")
FILE_NAME_RULE = "must be letters, digits and . _ = , - since it names a {}"


class Model(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Phantom(Model):
    """The procedural chest CT."""

    subjects: Annotated[int, Field(ge=4, le=100_000, description="number of subjects")]
    size: Annotated[Side, Field(ge=32, le=2048, description="side of a montage, px")] = 128
    seed: Seed = 0
    montages: Annotated[int, Field(ge=1, le=64, description="montages per subject")] = 1


class Data(Model):
    """Where images come from: `phantom` or `folder`, one of the two."""

    phantom: Phantom | None = None
    folder: Annotated[
        str | None, Field(min_length=1, description="an annotated set; ${data} is --data")
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Data:
        if (self.phantom is None) == (self.folder is None):
            raise ValueError("name one of phantom and folder; set the other to null")
        return self


class Splits(Model):
    """Numbers of subjects, not of images: all images of a subject share a split."""

    train: Annotated[int, Field(ge=2)]
    validation: Annotated[int, Field(ge=2)]
    test: Annotated[int, Field(ge=2)]


class Guidance(Model):
    """Unsupervised masks (paper, section III.A)."""

    superpixels: Annotated[str, Field(description="slic, none, or a plug-in")] = "slic"
    count: Annotated[int, Field(ge=1, description="superpixels per tile")] = 512
    compactness: Annotated[float, Field(gt=0, description="SLIC, grey values 0..255")] = COMPACTNESS
    t: Annotated[int, Field(ge=0, le=255, description="step of the grey values; 0: means")] = 50


class GeneratorChoice(Model):
    """One row of the board: a generator, what it is called there, and the generator's options."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: Annotated[str, Field(description="of the row; by default the entry's")]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        value = {"id": value} if isinstance(value, str) else value
        if isinstance(value, dict) and "id" in value:
            return {"name": value["id"], **value}
        return value

    @field_validator("name")
    @classmethod
    def _file(cls, name: str) -> str:
        if not FILE_NAME.fullmatch(name):
            raise ValueError(FILE_NAME_RULE.format("file"))
        if name in RESERVED or name.endswith("-untrained"):
            raise ValueError("is what a control or a picture is called; choose another name")
        return name

    @property
    def said(self) -> dict[str, Any]:
        """Options as the suite gives them."""
        return dict(self.model_extra or {})

    @property
    def options(self) -> BaseModel:
        """The generator's own options, defaults filled in."""
        from umbench_baselines.entries import get

        return get(self.id).Options.model_validate(self.said)


class Training(Model):
    """How long and how wide."""

    preset: Literal["quick", "small", "paper"] = "quick"
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    precision: Literal["no", "bf16"] = "no"
    scale: Annotated[float, Field(gt=0, le=100, description="times the preset's steps")] = 1.0
    perceptual: Annotated[
        Literal["auto", "vgg19", "efficientnet-lite0"],
        Field(description="network of the perceptual loss; auto: vgg19 where its weights are"),
    ] = "auto"


class View(Model):
    """An extractor, and in what form it takes images, where it has a choice.

    `native` leaves a picture at the panel's resolution; `fixed` is the extractor's own size.
    """

    id: str
    input: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        value = {"id": value} if isinstance(value, str) else value
        if isinstance(value, dict) and (modes := _inputs(value.get("id"))):
            return {"input": modes[0], **value}
        return value

    @property
    def name(self) -> str:
        """What tables call it."""
        from umbench_metrics.panel import view_name

        return view_name(self.id, self.input)


class Panel(Model):
    """Observations: every extractor at every resolution."""

    extractors: Annotated[list[View], Field(min_length=1)]
    resolutions: Annotated[list[Annotated[int, Field(ge=16, le=4096)]], Field(min_length=1)]


class Statistics(Model):
    """Tests between methods."""

    reference: Annotated[
        str | None, Field(description="a generator's row: marked, and compared first")
    ] = None
    verdict: Literal["resampling", "wilcoxon"] = "resampling"
    permutations: Annotated[int, Field(ge=19, le=100_000)] = 499
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    normalisation: Literal["anchored", "minmax", "l2-rows"] = "anchored"


class Suite(Model):
    """A whole comparison."""

    name: str
    data: Data
    splits: Splits | Literal["given"]
    split_seed: Seed = 0
    guidance: Guidance = Guidance()
    labelled: Annotated[int | None, Field(ge=1, description="images with masks; all: null")] = None
    generators: Annotated[list[GeneratorChoice], Field(min_length=1)]
    training: Training = Training()
    samples: Annotated[int, Field(ge=4)]
    panel: Panel
    metrics: Annotated[list[str], Field(min_length=1, description="the first orders the board")]
    controls: list[Control] = ["real", "degraded", "untrained"]
    statistics: Statistics = Statistics()

    @field_validator("name")
    @classmethod
    def _folder(cls, name: str) -> str:
        if not all(FILE_NAME.fullmatch(part) for part in name.split("/")):
            raise ValueError(FILE_NAME_RULE.format("folder"))
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        _check_generators(self.generators)
        _check_panel(self.panel)
        algorithm, known = self.guidance.superpixels, _superpixel_names()
        if algorithm not in known:
            raise fault("guidance.superpixels", f"no {algorithm!r}; {nearest(algorithm, known)}")
        _check_metrics(self.metrics)
        for key in ("metrics", "controls"):
            _check_different(key, getattr(self, key))
        _check_different("training.seeds", self.training.seeds)
        self._check_controls()
        return self

    def _check_controls(self) -> None:
        """What controls, scales and the reference need of each other."""
        if self.statistics.normalisation == "anchored" and not {"real", "degraded"} <= set(
            self.controls
        ):
            raise fault(
                "statistics.normalisation",
                "anchored needs the controls real and degraded; add them or name minmax",
            )
        arms = [control for control in self.controls if control in PAIR_CONTROLS]
        if arms and UTILITY not in self.metrics:
            raise fault(
                "metrics",
                f"the controls {', '.join(arms)} are arms of the utility; add it or leave them out",
            )
        rows, reference = [g.name for g in self.generators], self.statistics.reference
        if reference is not None and reference not in rows:
            raise fault(
                "statistics.reference",
                f"{reference!r} is none of the generators; name one of {', '.join(rows)}",
            )


def _check_generators(choices: list[GeneratorChoice]) -> None:
    """Generators that there are, with options that they have, under names of their own."""
    _check_known("generators", [choice.id for choice in choices], _generator_names())
    for index, choice in enumerate(choices):
        _check_options(f"generators.{index}", choice)
        if choice.name in [other.name for other in choices[:index]]:
            raise fault(
                f"generators.{index}",
                f"{choice.name} is named twice; remove one, or call it otherwise with name",
            )


def _check_options(key: str, choice: GeneratorChoice) -> None:
    from umbench_baselines.entries import option_names

    known = option_names(choice.id)
    for option in choice.said:
        if option not in known:
            meant = nearest(option, known) if known else "it has none"
            raise fault(f"{key}.{option}", f"{choice.id} has no such option; {meant}")
    try:
        _ = choice.options
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join([key, *map(str, problem["loc"])])
        raise fault(where, f"{in_our_words(problem)}, not {problem['input']!r}") from None


def _check_metrics(names: list[str]) -> None:
    """Metrics that there are; the first orders the board and gives its tiers."""
    from umbench_metrics.metric import can_be_resampled
    from umbench_metrics.registry import get
    from umbench_metrics.registry import names as measured

    _check_known("metrics", names, [*measured(), UTILITY])
    if names[0] == UTILITY or not can_be_resampled(get(names[0])):
        raise fault(
            "metrics.0",
            f"the first metric orders the board, whose tiers come from a test by resampling, and "
            f"{names[0]} has none; put one first that has, such as mm-fid",
        )


def _check_panel(panel: Panel) -> None:
    _check_known("panel.extractors", [view.id for view in panel.extractors], _extractor_names())
    for index, view in enumerate(panel.extractors):
        modes = _inputs(view.id)
        if view.input is not None and view.input not in modes:
            what = (
                f"must be {' or '.join(modes)}" if modes else f"{view.id} has no choice; remove it"
            )
            raise fault(f"panel.extractors.{index}.input", what)
    _check_different("panel.extractors", [view.name for view in panel.extractors])
    _check_different("panel.resolutions", panel.resolutions)


def _generator_names() -> list[str]:
    from umbench_baselines.entries import names

    return names()


def _extractor_names() -> list[str]:
    from umbench_metrics.extractors import TASKS, names

    return [*names(), *TASKS]


def _inputs(extractor: object) -> tuple[str, ...]:
    """In what forms an extractor takes images, the default first; () where in one."""
    from umbench_metrics.extractors import inputs

    return inputs(extractor) if isinstance(extractor, str) else ()


def _superpixel_names() -> list[str]:
    from umbench_baselines.guidance.superpixels import algorithm_names

    return algorithm_names()


def _check_known(key: str, values: list[str], known: list[str]) -> None:
    for index, value in enumerate(values):
        if value not in known:
            raise fault(f"{key}.{index}", f"no {value!r}; {nearest(value, known)}")


def _check_different(key: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise fault(f"{key}.{index}", f"{value} is named twice; remove one")
