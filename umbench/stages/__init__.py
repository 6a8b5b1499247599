"""Stage kinds, one file each: where store, data, baselines and metrics meet."""

from umbench.engine.kinds import Kind

_FILES = ("umbench.stages.artifacts", "umbench.data.rows")
_DATA = ("umbench.data", *_FILES)
_BASELINES = ("umbench_baselines", *_FILES)
_METRICS = ("umbench_metrics", *_FILES)
_DEVICES = tuple(f"umbench_baselines.{name}" for name in ("contracts", "launch", "training"))


def _kind(name: str, *sources: str) -> Kind:
    module = f"umbench.stages.{name.replace('-', '_')}"
    return Kind(name=name, module=module, sources=(module, *sources))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("phantom", *_DATA),
        _kind("folder", *_DATA),
        _kind("split", *_DATA),
        _kind("superpixels", "umbench_baselines.guidance", *_FILES),
        _kind("guidance", "umbench_baselines.guidance", "umbench.stages.superpixels", *_FILES),
        _kind("train", *_BASELINES),
        _kind("segment", *_BASELINES, "umbench_metrics.overlap"),
        _kind("sample", *_BASELINES),
        _kind("control", "umbench_metrics.degrade", "umbench.stages.sample", *_FILES),
        _kind("extractor", *_METRICS, *_DEVICES),
        _kind("features", *_METRICS, *_DEVICES, "umbench.stages.extractor"),
        _kind("scores", *_METRICS),
        _kind("compare", "umbench_metrics", "umbench.statistics", *_FILES),
        _kind("board", "umbench.leaderboard", "umbench.statistics", *_FILES),
    )
}
