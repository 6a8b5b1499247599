"""The suite's schema: what a YAML file may say, with bounds and cross-checks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from umbench_baselines.guidance.superpixels import COMPACTNESS

from umbench.data.documents import fault, nearest

KNOWN_EXTRACTORS = ("efficientnet-lite0", "inception-v3", "sex", "age", "source")
RESIZING = ("inception-v3",)
"""Extractors that enlarge or shrink what they are given to a size of their own."""
Control = Literal["real", "degraded", "untrained", "copies", "held-out", "shuffled"]
PAIR_CONTROLS = ("copies", "held-out", "shuffled")
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
    """One row of the board: an entry, its options, and what the row is called."""

    id: str
    name: Annotated[str, Field(description="of the row; by default the entry's")]
    annotated: Annotated[int | None, Field(ge=1, description="datasetgan: images labelled")] = None
    max_size: Annotated[
        Side | None, Field(ge=8, le=4096, description="largest side that G1 draws, px")
    ] = None
    paired: Annotated[
        bool | None, Field(description="perceptual loss against the paired image")
    ] = None
    supervision: Annotated[
        Literal["semi", "supervised"] | None, Field(description="supervised: labelled images alone")
    ] = None
    heads: Annotated[
        Literal["both", "image", "segmentation"] | None,
        Field(description="one network for both, the image alone, or one network each"),
    ] = None

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

    def options(self) -> dict[str, Any]:
        """Options that were given."""
        return self.model_dump(exclude={"id", "name"}, exclude_none=True)


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
    """An extractor, and the size of what it sees.

    `native` leaves a picture at the panel's resolution; `fixed` is the extractor's own size.
    """

    id: str
    input: Literal["native", "fixed"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        value = {"id": value} if isinstance(value, str) else value
        if isinstance(value, dict) and value.get("id") in RESIZING:
            return {"input": "fixed", **value}
        return value

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.id}-native" if self.input == "native" else self.id


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
    metrics: Annotated[list[Literal["mm-fid", "mm-std", "utility"]], Field(min_length=1)]
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
        for key in ("metrics", "controls"):
            _check_different(key, getattr(self, key))
        _check_different("training.seeds", self.training.seeds)
        self._check_controls()
        if "mm-fid" not in self.metrics:
            raise fault("metrics", "mm-fid orders the leaderboard; add it")
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
        if arms and "utility" not in self.metrics:
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
    """Entries that there are, with options that they have, under names of their own."""
    from umbench_baselines.entries import get, option_names

    _check_known("generators", [choice.id for choice in choices], _generator_names())
    for index, choice in enumerate(choices):
        known = option_names(get(choice.id))
        for option in choice.options():
            if option not in known:
                raise fault(
                    f"generators.{index}.{option}",
                    f"{choice.id} has no such option; it has {', '.join(known) or 'none'}",
                )
        if choice.name in [other.name for other in choices[:index]]:
            raise fault(
                f"generators.{index}",
                f"{choice.name} is named twice; remove one, or call it otherwise with name",
            )


def _check_panel(panel: Panel) -> None:
    _check_known("panel.extractors", [view.id for view in panel.extractors], _extractor_names())
    for index, view in enumerate(panel.extractors):
        if view.input is not None and view.id not in RESIZING:
            raise fault(
                f"panel.extractors.{index}.input",
                f"{view.id} has no choice, {', '.join(RESIZING)} has; remove it",
            )
    _check_different("panel.extractors", [view.name for view in panel.extractors])
    _check_different("panel.resolutions", panel.resolutions)


def _generator_names() -> list[str]:
    from umbench_baselines.entries import names

    return names()


def _extractor_names() -> list[str]:
    from importlib.metadata import entry_points

    return [*KNOWN_EXTRACTORS, *(point.name for point in entry_points(group="umbench.extractors"))]


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
