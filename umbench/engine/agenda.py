"""What is still to be made of a plan; it grows where an entry that is read turns out broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from umbench.engine.make import Job
from umbench.errors import NotMeasuredError
from umbench.pipeline import Plan, Stage
from umbench.store import Store

MOST_TIMES = 3
"""That one stage is made in a run; more, and the disk is to blame."""


class Agenda:
    """The stages of a plan to be made: those missing or broken that the final one depends on.

    An entry's content is checked when it is first read: the final one's at once, others' when a
    stage that takes them in is due. What is broken then is made first, with whatever it needs; the
    one who makes it sets the broken one aside, under its lock. `grown` is called with the number
    of stages whenever that changes.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        keys: Mapping[Stage, str],
        grown: Callable[[int], None] = lambda stages: None,
    ) -> None:
        self._plan, self._store, self._keys = plan, store, keys
        self._unmade: set[Stage] = set()
        self._under_way: set[Stage] = set()
        self._made: Counter[Stage] = Counter()
        if store.checked(keys[plan.final]) is None:
            self._require(plan.final)
        grown(len(self))
        self._grown = grown

    def __len__(self) -> int:
        """How many stages there are to make, those that were made since included."""
        return len(self._unmade) + self._made.total()

    @property
    def finished(self) -> bool:
        """Whether all is made."""
        return not self._unmade

    def take(self, gpu: bool = True) -> Job | None:
        """A stage whose inputs are there and whole, which others wait for most; None for now.

        gpu: whether it may be one that computes on GPUs.
        """
        while (stage := self._due(gpu)) is not None:
            broken = [input for input in stage.inputs.values() if not self._whole(input)]
            if not broken:
                self._under_way.add(stage)
                return Job.of(stage, self._plan, self._keys)
            for input in broken:
                self._require(input)
            self._grown(len(self))
        return None

    def done(self, job: Job) -> None:
        """The stage that was taken is made."""
        self._under_way.remove(job.stage)
        self._unmade.remove(job.stage)
        self._made[job.stage] += 1

    def _due(self, gpu: bool) -> Stage | None:
        unmade = [stage for stage in self._plan.stages if stage in self._unmade]
        for stage in by_urgency(unmade):
            free = stage not in self._under_way and (gpu or not stage.resources.gpu)
            if free and self._unmade.isdisjoint(stage.inputs.values()):
                return stage
        return None

    def _whole(self, stage: Stage) -> bool:
        fault = self._store.fault(self._keys[stage])
        if fault is not None and self._made[stage] >= MOST_TIMES:
            raise NotMeasuredError(
                f"stage {self._plan.labels[stage]}: made {MOST_TIMES} times, and {fault}; check "
                f"the disk under {self._store.root}"
            )
        return fault is None

    def _require(self, wanted: Stage) -> None:
        """A stage is to be made, and what it depends on as far as that is missing."""
        queue = [wanted]
        while queue:
            stage = queue.pop()
            if stage not in self._unmade:
                self._unmade.add(stage)
                inputs = stage.inputs.values()
                queue += [i for i in inputs if self._store.entry(self._keys[i]) is None]


def by_urgency(stages: Sequence[Stage]) -> list[Stage]:
    """Stages with the longest chain of others that wait for them first; ties keep their order."""
    longest: dict[Stage, int] = {}
    for stage in reversed(stages):
        own = longest.setdefault(stage, 0)
        for input in stage.inputs.values():
            longest[input] = max(longest.get(input, 0), own + 1)
    return sorted(stages, key=lambda stage: -longest[stage])
