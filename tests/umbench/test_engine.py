"""The local engine: the same results whatever the number of workers, and clean ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from umbench.engine.agenda import by_urgency
from umbench.engine.kinds import Kind
from umbench.engine.local import execute
from umbench.errors import InputError, NotMeasuredError
from umbench.pipeline import Plan, Stage
from umbench.store import Store

MODULE = """
import os, signal, time, torch
from umbench.errors import InputError

def run(context):
    p = context.stage.params
    context.progress(1, 2, "half")
    time.sleep(p.get("sleep", 0))
    if p.get("fail"):
        raise InputError("planted: the key x is wrong")
    if p.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    text = "".join(sorted((f / "text").read_text() for f in context.inputs.values()))
    (context.output / "text").write_text(text + context.stage.id)
    return {"pid": os.getpid(), "threads": torch.get_num_threads()}
"""


class Recorder:
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.steps: list[tuple[str, int, int, str]] = []

    def start(self, stages: int) -> None:
        self.stages = stages

    def begin(self, stage: Stage) -> None:
        self.begun.append(stage.id)

    def step(self, stage: Stage, done: int, total: int, text: str) -> None:
        self.steps.append((stage.id, done, total, text))

    def end(self, stage: Stage) -> None:
        self.ended.append(stage.id)

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kind]:
    (tmp_path / "planted_stage.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"planted": Kind("planted", "planted_stage", ("planted_stage",))}


def diamond(**params: Mapping[str, object]) -> Plan:
    """top -> left, right -> bottom; params by stage id."""
    inputs: dict[str, dict[str, str]] = {
        "top": {}, "left": {"a": "top"}, "right": {"a": "top"},
        "bottom": {"a": "left", "b": "right"},
    }  # fmt: skip
    stages = tuple(
        Stage(id, "planted", {"name": id, **params.get(id, {})}, inputs=given)
        for id, given in inputs.items()
    )
    return Plan("diamond", stages, "bottom")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_do_not_depend_on_the_number_of_workers(
    workers: int, kinds: dict[str, Kind], tmp_path: Path
) -> None:
    display = Recorder()
    entries = execute(diamond(), Store(tmp_path / "store"), kinds, display, workers)
    assert (entries["bottom"] / "text").read_text() == "topleft" + "topright" + "bottom"
    assert set(display.begun) == set(display.ended) == {"top", "left", "right", "bottom"}
    assert ("left", 1, 2, "half") in display.steps
    again = Recorder()
    execute(diamond(), Store(tmp_path / "store"), kinds, again, workers)
    assert again.stages == 0


def test_a_stage_alone_computes_with_the_threads_that_it_has_in_company(
    kinds: dict[str, Kind], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    store = Store(tmp_path / "store")
    found = set()
    for workers, final in ((4, "top"), (1, "left"), (4, "bottom")):
        plan = replace(diamond(), final=final)
        entry = execute(plan, store, kinds, Recorder(), workers)[final]
        facts = store.result(entry.name)
        assert facts is not None
        found.add((facts["measured"]["threads"], facts["threads"]))
    assert found == {(2, 2)}


def test_independent_stages_run_at_the_same_time(kinds: dict[str, Kind], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = diamond(left={"sleep": 0.5}, right={"sleep": 0.5})
    entries = execute(plan, store, kinds, Recorder(), 2)
    pids = {store.result(entries[id].name)["measured"]["pid"] for id in ("left", "right")}  # type: ignore[index]
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_an_error_is_raised_as_it_was_and_finished_work_is_kept(
    kinds: dict[str, Kind], tmp_path: Path
) -> None:
    plan = diamond(left={"fail": True}, right={"sleep": 60})
    started = time.monotonic()
    with pytest.raises(InputError, match="planted: the key x is wrong"):
        execute(plan, Store(tmp_path / "store"), kinds, Recorder(), 2)
    assert time.monotonic() - started < 50, "the other worker was waited for"
    made = Recorder()
    with pytest.raises(InputError):
        execute(plan, Store(tmp_path / "store"), kinds, made, 2)
    assert "top" not in made.begun


def test_a_worker_that_dies_names_its_stage(kinds: dict[str, Kind], tmp_path: Path) -> None:
    plan = diamond(left={"die": True})
    with pytest.raises(NotMeasuredError, match="stage left: its process ended with status -9"):
        execute(plan, Store(tmp_path / "store"), kinds, Recorder(), 2)


def test_what_most_others_wait_for_comes_first() -> None:
    chain = [
        Stage("short", "k", {}),
        Stage("first", "k", {}),
        Stage("second", "k", {}, {"a": "first"}),
        Stage("last", "k", {}, {"a": "second", "b": "short"}),
    ]
    assert [stage.id for stage in by_urgency(chain)] == ["first", "short", "second", "last"]


def test_workers_end_when_the_run_is_killed(kinds: dict[str, Kind], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parent)!r}]
        from umbench.engine.kinds import Kind
        from umbench.engine.local import execute
        from umbench.store import Store
        from test_engine import Recorder, diamond
        if __name__ == "__main__":
            kinds = {{"planted": Kind("planted", "planted_stage", ("planted_stage",))}}
            plan = diamond(left={{"sleep": 300}}, right={{"sleep": 300}})
            class Printing(Recorder):
                def step(self, stage, *rest):
                    print(stage.id, flush=True)
            execute(plan, Store(Path({str(tmp_path)!r}) / "store"), kinds, Printing(), 2)
        """)
    )
    run = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    begun = {run.stdout.readline().strip() for _ in range(3)}
    assert begun == {"top", "left", "right"}
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while _group(run.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _group(run.pid)


def _group(session: int) -> list[int]:
    """Processes of a process group that are still alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
