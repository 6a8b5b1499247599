"""What goes into a generator and what comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from umbench_baselines.training import TrainingRun

    Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Pictures:
    """Grey pictures as they are stored; a batch is converted when it is asked for.

    values: (M, H, W) uint8 or uint16, often a memory map, never copied whole. rows: (N,) the row
    numbers of `values` that these pictures are, in their order.
    """

    values: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Pictures:
        """All rows of an array."""
        return cls(values, np.arange(len(values)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[1], self.values.shape[2]

    def take(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Pictures:
        """Some of these pictures, in the order given; nothing is read."""
        return Pictures(self.values, self.rows[as_rows(rows)])

    def batch(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Tensor:
        """Pictures (n, 1, H, W) float32 in [0, 1]; 1 is the largest value of the stored type."""
        import torch

        stored = _read(self.values, self.rows[as_rows(rows)])
        top = float(np.iinfo(stored.dtype).max)
        # torch has no arithmetic on uint16
        wide = stored if stored.dtype == np.uint8 else stored.astype(np.int32)
        return torch.from_numpy(wide)[:, None].float() / top


@dataclass(frozen=True)
class LabelMaps:
    """Label maps as they are stored, and which of them may be read.

    values: (M, H, W) uint8 class numbers. rows: (N,) as in `Pictures`. numbers: the class number
    of each class index, ascending. known: (N,) bool; rows where it is false come out as zeros.
    """

    values: np.ndarray
    rows: np.ndarray
    numbers: tuple[int, ...]
    known: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, classes: int) -> LabelMaps:
        """All rows of an array of class indices below `classes`, all of them known."""
        everything = np.ones(len(values), dtype=bool)
        return cls(values, np.arange(len(values)), tuple(range(classes)), everything)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> LabelMaps:
        """Some of these maps, in the order given; nothing is read."""
        chosen = as_rows(rows)
        return LabelMaps(self.values, self.rows[chosen], self.numbers, self.known[chosen])

    def batch(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Tensor:
        """Class indices (n, H, W) int64; zeros where a map may not be read."""
        import torch

        chosen = as_rows(rows)
        table = np.zeros(256, dtype=np.uint8)
        table[list(self.numbers)] = np.arange(len(self.numbers))
        indices = table[_read(self.values, self.rows[chosen])]
        indices[~self.known[chosen]] = 0
        return torch.from_numpy(indices).long()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Class indices (N, H, W) to (N, classes, H, W) float32."""
    from torch.nn import functional

    return functional.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def as_rows(rows: Tensor | np.ndarray | slice | Sequence[int]) -> np.ndarray | slice:
    """Row numbers or a mask of any kind as what numpy indexes with."""
    return rows if isinstance(rows, slice) else np.asarray(rows)


def _read(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy rows into memory of their own: a plain, writable array."""
    return np.array(values[rows])


@dataclass(frozen=True)
class TrainingData:
    """Real images with their guidance; only some carry a label map.

    images: N pictures. guidance: the unsupervised masks as N pictures of uint8, multiples of `t`
    on the scale 0 .. 255 (superpixel means where t = 0); None where nothing needs them. masks: N
    label maps with class indices below `classes`, known where `labelled` (N,) bool. layout: rows
    and columns of the tiles that an image is put together from, or None. Nothing is held as
    floats: batches are converted when they are drawn.
    """

    images: Pictures
    guidance: Pictures | None
    masks: LabelMaps
    labelled: Tensor
    classes: int
    t: int
    layout: tuple[int, int] | None = None

    def take(self, rows: Tensor) -> TrainingData:
        """Some of the rows, in the order given (numbers, or a mask)."""
        return TrainingData(
            images=self.images.take(rows),
            guidance=None if self.guidance is None else self.guidance.take(rows),
            masks=self.masks.take(rows),
            labelled=self.labelled[rows],
            classes=self.classes,
            t=self.t,
            layout=self.layout,
        )


@dataclass(frozen=True)
class AnnotatedBatch:
    """Generated images with their annotations.

    images: (N, 1, H, W) float32 in [0, 1]. masks: (N, H, W) int64, or None from a generator of
    images alone. conditions: (N, 1, H, W) float32 in [0, 255], the guidance that each image was
    made from, or None. doubt: (N,) how uncertain an annotation is, where a generator draws more
    than it keeps, or None.
    """

    images: Tensor
    masks: Tensor | None
    conditions: Tensor | None = None
    doubt: Tensor | None = None


@dataclass(frozen=True)
class Trained:
    """A network at rest.

    weights: its `state_dict`, on the CPU. facts: JSON from which the network is built again, and
    whatever else its training has to tell.
    """

    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, network: nn.Module, facts: Mapping[str, Any]) -> Trained:
        """Of a network as it is now."""
        weights = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
        return cls(weights, facts)

    def into(self, network: Network) -> Network:
        """The network with these weights, in evaluation mode. RuntimeError where it is another."""
        network.load_state_dict(dict(self.weights))
        return network.eval()


@dataclass(frozen=True)
class Budget:
    """How long and how wide to train.

    preset: quick, small or paper. scale: what the preset's steps are multiplied by. untrained:
    networks stay at step 0.
    """

    preset: str = "quick"
    scale: float = 1.0
    untrained: bool = False


@dataclass(frozen=True)
class Perceptual:
    """The network behind perceptual losses on this machine, and the SHA-256 of its file.

    See `umbench_baselines.weights.resolve_perceptual`.
    """

    name: str = "none"
    sha256: str = ""


QUIET: Mapping[str, Any] = {"quiet": True}
"""Metadata of a part's field that names of stages need not tell."""


class Part(ABC):
    """A network of a generator: how it is trained, and how it is built again.

    A part is a light frozen dataclass whose fields are its options: parts that are equal are one
    training, whichever generators they belong to. Its class stands in a module that is light to
    import. `COST` names a module that tells what training and drawing take
    (`umbench_baselines.costs`); without one the cost is unknown.
    """

    COST: ClassVar[str | None] = None

    @property
    def name(self) -> str:
        """What its generator calls it; no two parts of a generator share one."""
        raise NotImplementedError

    @property
    def source(self) -> str:
        """The module whose source, with all that it imports, decides what training gives."""
        return type(self).__module__

    @property
    def guidance(self) -> bool:
        """Whether it needs the unsupervised masks of its training images."""
        return False

    @property
    def needs(self) -> tuple[Part, ...]:
        """Parts that are trained before it, and that it is trained on."""
        return ()

    @property
    def segmenter(self) -> bool:
        """Whether it is also trained on the segmenter of the real pairs."""
        return False

    @abstractmethod
    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        """Train within `run.budget`; goes on from the run's last checkpoint where there is one.

        needs: the parts of `needs` by name, and "segmenter" where it is wanted. Called in every
        process of a training at once (`umbench_baselines.training.Devices`). ValueError where the
        data do not serve.
        """

    @abstractmethod
    def build(self, trained: Trained) -> nn.Module:
        """The trained network, in evaluation mode on the CPU."""

    def guessed(self, folder: Path, data: TrainingData) -> tuple[np.ndarray, np.ndarray] | None:
        """What a training in `folder` took for the label maps of unlabelled images, or None.

        Rows of `data` (U,) and maps (U, H, W) uint8 of class indices, 255 where it took none. Who
        knows the truth can tell how good the guesses were.
        """
        return None


def switches(part: Part) -> list[str]:
    """What of a part is not as by default, as words in a fixed order, such as `paired=false`."""
    if not is_dataclass(part):
        return []
    said: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, BaseModel):
            said |= value.model_dump(exclude_defaults=True)
        elif field.default not in (MISSING, value) and not field.metadata.get("quiet"):
            said[field.name] = value
    return [f"{name}={str(said[name]).lower()}" for name in sorted(said)]


class GeneratorOptions(BaseModel):
    """Base of what suites may say of generators; as it is, of those that have no options."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Generator(ABC):
    """A benchmark entry: the networks that it is made of, and how it draws.

    Third parties register an object of theirs under the entry points `umbench.generators`; see
    `umbench_baselines.single.OneNetwork` where there is one network to train. `name` is what
    suites say; `conditions` names the real guidance that sampling starts from, None where all is
    drawn from noise; `annotator` says who labels images by hand, where somebody must.
    `guided`: batches carry the unsupervised masks that images were made from. `chooses`: they
    carry doubts, by which some images are left out.
    """

    name: str
    summary: str
    annotator: str = ""
    conditions: Literal["masks", "guidance"] | None = None
    guided: bool = False
    chooses: bool = False
    Options: type[GeneratorOptions] = GeneratorOptions
    """What a suite may say of it."""

    @abstractmethod
    def parts(self, options: Any, perceptual: Perceptual) -> tuple[Part, ...]:
        """The networks to train, those before that others are trained on.

        options: one of `Options`. perceptual: the choice that this machine has for those that
        compare images by a published network.
        """

    @abstractmethod
    def build(self, trained: Mapping[str, Trained], options: Any, device: torch.device) -> Any:
        """A state to draw from, on a device. trained: the parts by name."""

    @abstractmethod
    def sample(
        self, state: Any, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """Images `start` .. `start + count` of a seed, on the CPU.

        Image i of a seed (and its condition) is the same whatever it is drawn with. conditions:
        what `as_conditions` gives, one for each image, where `self.conditions` asks for it, else
        None.
        """

    def annotates(self, options: Any) -> bool:
        """Whether images come with masks."""
        return True

    def drawn(self, count: int, state: Any) -> int:
        """How many images are to be drawn so that `count` are kept."""
        return count

    def keep(self, doubt: Tensor, count: int) -> Tensor:
        """Which of the drawn images are kept, (count,) ascending rows; doubt: of all, (N,)."""
        raise NotImplementedError


def as_conditions(real: Pictures | LabelMaps, rows: Sequence[int] | slice) -> Tensor:
    """Real guidance as generators take it.

    Label maps (n, H, W) int64, or unsupervised masks (n, 1, H, W) float32 in [0, 255].
    """
    batch = real.batch(rows)
    return batch if isinstance(real, LabelMaps) else (batch * 255).round()


Config = TypeVar("Config")


def config_of(kind: type[Config], facts: Mapping[str, Any]) -> Config:
    """The configuration under "config" in a network's facts: lists become the tuples they were."""
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts["config"].items()
    }
    return kind(**values)
