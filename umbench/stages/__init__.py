"""Stage kinds, one file each: where store, data, baselines and metrics meet."""

from umbench.engine.kinds import Kind

_DATA = ("umbench.data", "umbench.stages.artifacts")
_BASELINES = ("umbench_baselines", "umbench.stages.artifacts")
_METRICS = ("umbench_metrics", "umbench.stages.artifacts")


def _kind(name: str, *sources: str) -> Kind:
    module = f"umbench.stages.{name.replace('-', '_')}"
    return Kind(name=name, module=module, sources=(module, *sources))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("phantom", *_DATA),
        _kind("folder", *_DATA),
        _kind("split", *_DATA),
        _kind("superpixels", "umbench_baselines.guidance", "umbench.stages.artifacts"),
        _kind("guidance", "umbench_baselines.guidance", "umbench.stages.artifacts"),
        _kind("train", *_BASELINES),
        _kind("segment", *_BASELINES, "umbench_metrics.overlap"),
        _kind("sample", *_BASELINES),
        _kind("control", "umbench_metrics.degrade", "umbench.stages.artifacts"),
        _kind("extractor", *_METRICS),
        _kind("features", *_METRICS),
        _kind("scores", *_METRICS),
        _kind("compare", "umbench_metrics", "umbench.statistics", "umbench.stages.artifacts"),
        _kind("board", "umbench.leaderboard", "umbench.statistics", "umbench.stages.artifacts"),
    )
}
