"""The stages of every plan, as values: what each depends on, and where its work is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from umbench_baselines.contracts import Budget, Part, switches
from umbench_metrics.panel import view_name
from umbench_metrics.registry import source as metric_source

from umbench.leaderboard.provenance import LeftOut, Method, Verdict
from umbench.pipeline import LOCAL, Resources, Stage

if TYPE_CHECKING:
    from pydantic import BaseModel

PairControl = Literal["copies", "held-out", "shuffled"]
GPU = Resources(gpu=True)
FOLDS = 2
"""A cross-fitted extractor scores each half of the images with another network."""


class Producer(Stage):
    """A stage whose result is an annotated set; whatever takes it in does not ask who made it."""


@dataclass(frozen=True, eq=False)
class Phantom(Producer):
    """The procedural chest CT set. size: side of a montage in px; montages: per subject."""

    RUN: ClassVar[str] = "umbench.stages.phantom"
    label: ClassVar[str] = "data"
    subjects: int
    size: int
    seed: int
    montages: int


@dataclass(frozen=True, eq=False)
class Folder(Producer):
    """A set on disk, known by its content; `path` is where it lies on this machine."""

    RUN: ClassVar[str] = "umbench.stages.folder"
    label: ClassVar[str] = "data"
    fingerprint: str
    path: str = field(metadata=LOCAL)


@dataclass(frozen=True)
class Shares:
    """Subjects per split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, eq=False)
class Split(Stage):
    """Who trains, validates and tests. shares: None takes the set's own; labelled: images."""

    RUN: ClassVar[str] = "umbench.stages.split"
    label: ClassVar[str] = "split"
    data: Producer
    shares: Shares | None
    labelled: int | None
    seed: int


@dataclass(frozen=True, eq=False)
class Real:
    """The real set and its split, which nearly every stage takes in."""

    data: Producer
    split: Split


@dataclass(frozen=True, eq=False)
class Superpixels(Stage):
    """Segments of every image; `network` where the algorithm is trained."""

    RUN: ClassVar[str] = "umbench.stages.superpixels"
    label: ClassVar[str] = "superpixels"
    data: Producer
    algorithm: str
    count: int
    compactness: float
    module: str
    network: Train | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, self.module)


@dataclass(frozen=True, eq=False)
class Guidance(Stage):
    """Unsupervised masks (Algorithm 1); without superpixels each pixel is its own."""

    RUN: ClassVar[str] = "umbench.stages.guidance"
    label: ClassVar[str] = "guidance"
    data: Producer
    superpixels: Superpixels | None
    t: int


@dataclass(frozen=True, eq=False)
class Train(Stage):
    """One part of a generator, trained."""

    RUN: ClassVar[str] = "umbench.stages.train"
    resources: ClassVar[Resources] = GPU
    part: Part
    real: Real
    guidance: Guidance | None
    needs: tuple[Train, ...]
    segmenter: Segment | None
    budget: Budget
    seed: int
    precision: str

    @property
    def label(self) -> str:
        word = "untrained" if self.budget.untrained else "train"
        return " ".join([word, self.part.name, *switches(self.part), f"seed {self.seed}"])

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, self.part.source)


@dataclass(frozen=True, eq=False)
class Sample(Producer):
    """Annotated images from a generator's networks.

    name: the row's; source: the module that draws. guidance: where the generator starts from real
    guidance.
    """

    RUN: ClassVar[str] = "umbench.stages.sample"
    resources: ClassVar[Resources] = GPU
    generator: str
    source: str
    name: str
    options: BaseModel
    networks: tuple[Train, ...]
    real: Real
    guidance: Guidance | None
    count: int
    seed: int

    @property
    def label(self) -> str:
        word = "untrained " if any(made.budget.untrained for made in self.networks) else ""
        return f"sample {word}{self.name} seed {self.seed}"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, self.source)


@dataclass(frozen=True, eq=False)
class Control(Producer):
    """Images scored as if synthetic: held-out real ones, or damaged test images."""

    RUN: ClassVar[str] = "umbench.stages.control"
    control: Literal["real", "degraded"]
    real: Real
    count: int
    seed: int

    @property
    def label(self) -> str:
        return f"control {self.control}"


@dataclass(frozen=True)
class Pairs:
    """Further real pairs that a control of utility adds: which, and how many."""

    control: PairControl
    count: int


@dataclass(frozen=True, eq=False)
class Segment(Stage):
    """The utility network on real pairs, alone or with those of an arm."""

    RUN: ClassVar[str] = "umbench.stages.segment"
    resources: ClassVar[Resources] = GPU
    real: Real
    budget: Budget
    seed: int
    precision: str
    synthetic: Producer | None = None
    pairs: Pairs | None = None
    arm: str = field(default="", metadata=LOCAL)

    @property
    def label(self) -> str:
        return f"segment real{f'+{self.arm}' if self.arm else ''} seed {self.seed}"


@dataclass(frozen=True, eq=False)
class ImageSource:
    """One class of a network that tells sources apart: a name and the sets that belong to it."""

    name: str
    sets: tuple[Producer, ...]


@dataclass(frozen=True, eq=False)
class TaskNetwork(Stage):
    """A network trained on a task of this set: sex or age of its subjects, or the images' source.

    told_apart, fold: of `source` alone; a source without sets is damaged real images. A network of
    fold k never sees synthetic images whose number modulo `folds` is k.
    """

    RUN: ClassVar[str] = "umbench.stages.extractor"
    resources: ClassVar[Resources] = GPU
    task: str
    real: Real
    budget: Budget
    seed: int
    precision: str
    told_apart: tuple[ImageSource, ...] = ()
    fold: int | None = None
    folds: int = 1

    @property
    def label(self) -> str:
        if self.fold is None:
            return f"extractor {self.task}"
        return f"extractor {self.task} fold {self.fold} seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Extract(Stage):
    """A set through one extractor at every resolution.

    extractor, input: where no network was trained for it. networks: one, or one per fold. split:
    of `images`, which rows; reference: scored by the networks of all folds. module: of the
    extractor.
    """

    RUN: ClassVar[str] = "umbench.stages.features"
    resources: ClassVar[Resources] = GPU
    extractor: str
    input: str | None
    module: str
    images: Producer
    networks: tuple[TaskNetwork, ...]
    resolutions: tuple[int, ...]
    count: int | None
    split: Split | None
    who: str = field(metadata=LOCAL)

    @property
    def reference(self) -> bool:
        """Whether these are the test images, which no network saw."""
        return self.split is not None

    @property
    def label(self) -> str:
        return f"features {self.who}"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, self.module)


@dataclass(frozen=True, eq=False)
class Seen:
    """A method at one seed as one extractor sees it, beside the reference."""

    method: Method
    seed: int
    real: Extract
    synthetic: Extract

    @property
    def extractor(self) -> str:
        """As tables call it."""
        return view_name(self.synthetic.extractor, self.synthetic.input)


@dataclass(frozen=True, eq=False)
class Score(Stage):
    """One metric of every method in every observation."""

    RUN: ClassVar[str] = "umbench.stages.scores"
    metric: str
    normalisation: str
    seen: tuple[Seen, ...]

    @property
    def label(self) -> str:
        return f"score {self.metric}"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, metric_source(self.metric))


@dataclass(frozen=True, eq=False)
class Arm:
    """A row of the utility: `real` or real images with those of a method or control."""

    name: str
    seed: int
    segment: Segment

    @property
    def control(self) -> bool:
        """Whether real pairs were added that no generator made."""
        return self.segment.pairs is not None


@dataclass(frozen=True)
class Comparison:
    """How methods are compared."""

    permutations: int
    alpha: float


@dataclass(frozen=True, eq=False)
class Compare(Stage):
    """Tests between methods over scores and features."""

    RUN: ClassVar[str] = "umbench.stages.compare"
    label: ClassVar[str] = "compare"
    scores: tuple[Score, ...]
    seen: tuple[Seen, ...]
    reference: str | None
    tests: Comparison

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, *(metric_source(score.metric) for score in self.scores))


@dataclass(frozen=True, eq=False)
class Utility(Stage):
    """Dice of the arms, and tests of each against real images alone, over subjects."""

    RUN: ClassVar[str] = "umbench.stages.utility"
    label: ClassVar[str] = "utility"
    arms: tuple[Arm, ...]
    tests: Comparison


@dataclass(frozen=True, eq=False)
class Displayed:
    """A row whose images the board shows, at the first seed."""

    name: str
    samples: Producer


@dataclass(frozen=True, eq=False)
class Told:
    """A trained network with something to say of its training, and the rows that use it."""

    rows: tuple[str, ...]
    network: Train


@dataclass(frozen=True, eq=False)
class Board(Stage):
    """The final tables, pictures and report. suite: resolved, as run folders keep it."""

    RUN: ClassVar[str] = "umbench.stages.board"
    label: ClassVar[str] = "board"
    scores: tuple[Score, ...]
    compare: Compare
    utility: Utility | None
    verdict: Verdict
    real: Real
    shown: tuple[Displayed, ...]
    told: tuple[Told, ...]
    superpixels: Superpixels | None
    left_out: tuple[LeftOut, ...]
    annotators: Mapping[str, str]
    suite: Mapping[str, Any]

    @property
    def pairs(self) -> Mapping[str, int]:
        """Controls of the utility, and how many real pairs each adds."""
        arms = self.utility.arms if self.utility else ()
        return {arm.name: arm.segment.pairs.count for arm in arms if arm.segment.pairs is not None}

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, *(metric_source(score.metric) for score in self.scores))
