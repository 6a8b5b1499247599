"""What `from umbench_baselines import ...` offers."""

from umbench_baselines.contracts import (
    AnnotatedBatch,
    Budget,
    Generator,
    GeneratorOptions,
    LabelMaps,
    Part,
    Perceptual,
    Pictures,
    Trained,
    TrainingData,
    as_conditions,
)
from umbench_baselines.entries import get as generator
from umbench_baselines.entries import names as generator_names
from umbench_baselines.guidance.superpixels import Superpixels, algorithm_names
from umbench_baselines.guidance.superpixels import segment as segment_superpixels
from umbench_baselines.guidance.unsupervised_mask import guidance_of
from umbench_baselines.segmenter import (
    Pairs,
    SegmenterConfig,
    segment,
    segmenter_of,
    train_segmenter,
    trained_segmenter,
)
from umbench_baselines.single import OneNetwork
from umbench_baselines.training import (
    Devices,
    MovingAverage,
    TrainingRun,
    draw_batch,
    run_loop,
    step_seed,
)
from umbench_baselines.weights import resolve_perceptual

__all__ = [
    "AnnotatedBatch",
    "Budget",
    "Devices",
    "Generator",
    "GeneratorOptions",
    "LabelMaps",
    "MovingAverage",
    "OneNetwork",
    "Pairs",
    "Part",
    "Perceptual",
    "Pictures",
    "SegmenterConfig",
    "Superpixels",
    "Trained",
    "TrainingData",
    "TrainingRun",
    "algorithm_names",
    "as_conditions",
    "draw_batch",
    "generator",
    "generator_names",
    "guidance_of",
    "resolve_perceptual",
    "run_loop",
    "segment",
    "segment_superpixels",
    "segmenter_of",
    "step_seed",
    "train_segmenter",
    "trained_segmenter",
]
