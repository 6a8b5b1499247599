"""The suite's schema: what a YAML file may say, with bounds and cross-checks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from umbench.data.documents import fault, nearest

KNOWN_EXTRACTORS = ("efficientnet-lite0", "inception-v3", "sex", "age", "source")

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Model(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Phantom(Model):
    """The procedural chest CT."""

    subjects: Annotated[int, Field(ge=4, le=100_000, description="number of subjects")]
    size: Annotated[int, Field(ge=32, le=2048, description="side of a montage, px")] = 128
    seed: Seed = 0
    montages: Annotated[int, Field(ge=1, le=64, description="montages per subject")] = 1

    @field_validator("size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError("must be a power of two, since the networks halve and double it")
        return size


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
    """Numbers of subjects."""

    train: Annotated[int, Field(ge=2)]
    validation: Annotated[int, Field(ge=2)]
    test: Annotated[int, Field(ge=2)]


class Guidance(Model):
    """Unsupervised masks (paper, section III.A)."""

    superpixels: Annotated[str, Field(description="slic, none, or a plug-in")] = "slic"
    count: Annotated[int, Field(ge=1, description="superpixels per tile")] = 512
    compactness: Annotated[float, Field(gt=0, description="SLIC, on the scale 0..255")] = 15.0
    t: Annotated[int, Field(ge=0, le=255, description="step of the grey values; 0: means")] = 50


class GeneratorChoice(Model):
    """One entry and its options."""

    id: str
    annotated: Annotated[int | None, Field(ge=1, description="datasetgan: images labelled")] = None

    def options(self) -> dict[str, Any]:
        """Options that were given."""
        return self.model_dump(exclude={"id"}, exclude_none=True)


class Training(Model):
    """How long and how wide."""

    preset: Literal["quick", "small", "paper"] = "quick"
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    precision: Literal["no", "bf16"] = "no"
    scale: Annotated[float, Field(gt=0, le=100, description="times the preset's steps")] = 1.0


class Panel(Model):
    """Observations: every extractor at every resolution."""

    extractors: Annotated[list[str], Field(min_length=1)]
    resolutions: Annotated[list[Annotated[int, Field(ge=16, le=4096)]], Field(min_length=1)]


class Statistics(Model):
    """Tests between methods."""

    test: Literal["wilcoxon"] = "wilcoxon"
    correction: Literal["holm"] = "holm"
    reference: str | None = None
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
    controls: list[Literal["real", "degraded", "untrained"]] = ["real", "degraded", "untrained"]
    statistics: Statistics = Statistics()

    @field_validator("name")
    @classmethod
    def _folder(cls, name: str) -> str:
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,-]*", p) for p in name.split("/")):
            raise ValueError("must be letters, digits and . _ = , - since it names a folder")
        return name

    @field_validator("generators", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"id": item} if isinstance(item, str) else item for item in value]

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        ids = [generator.id for generator in self.generators]
        extractors = self.panel.extractors
        _check_known("generators", ids, _generator_names())
        _check_known("panel.extractors", extractors, _extractor_names())
        algorithm, known = self.guidance.superpixels, _superpixel_names()
        if algorithm not in known:
            raise fault("guidance.superpixels", f"no {algorithm!r}; {nearest(algorithm, known)}")
        if self.statistics.normalisation == "anchored" and not {"real", "degraded"} <= set(
            self.controls
        ):
            raise fault(
                "statistics.normalisation",
                "anchored needs the controls real and degraded; add them or name minmax",
            )
        _check_different("generators", ids)
        _check_different("panel.extractors", extractors)
        _check_different("panel.resolutions", self.panel.resolutions)
        _check_different("training.seeds", self.training.seeds)
        reference = self.statistics.reference
        if reference is not None and reference not in ids:
            raise fault(
                "statistics.reference",
                f"{reference!r} is none of the generators; name one of {', '.join(ids)}",
            )
        if "mm-fid" not in self.metrics:
            raise fault("metrics", "mm-fid orders the leaderboard; add it")
        return self


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
