"""The engines: the same results whatever the number of workers, clean ends, open by name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from planted_stages import Act, Text, plan

from umbench.cli.main import main
from umbench.engine import engines
from umbench.engine.agenda import Agenda, by_urgency
from umbench.engine.display import Display
from umbench.engine.engines import execute, get_engine
from umbench.engine.keys import stage_keys
from umbench.engine.make import make
from umbench.engine.pool import run_side_by_side
from umbench.errors import InputError, NotMeasuredError
from umbench.pipeline import Plan
from umbench.store import Store


class Recorder:
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.steps: list[tuple[str, int, int, str]] = []

    def start(self, stages: int) -> None:
        self.stages = stages

    def begin(self, label: str) -> None:
        self.begun.append(label)

    def step(self, label: str, done: int, total: int, text: str) -> None:
        self.steps.append((label, done, total, text))

    def end(self, label: str) -> None:
        self.ended.append(label)

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(plan: Plan, store: Store, display: Display, workers: int) -> dict[str, Path]:
    """Entries by label."""
    entries = execute(plan, store, display, workers=workers)
    return {plan.labels[stage]: entry for stage, entry in entries.items()}


def silent(done: int, total: int, text: str) -> None:
    pass


def measured(store: Store, entry: Path) -> dict[str, Any]:
    facts = store.result(entry.name)
    assert facts is not None
    found: dict[str, Any] = facts["measured"]
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_results_do_not_depend_on_the_number_of_workers(workers: int, store: Store) -> None:
    display = Recorder()
    entries = run(plan(), store, display, workers)
    assert (entries["bottom"] / "text").read_text() == "topleft" + "topright" + "bottom"
    assert set(display.begun) == set(display.ended) == {"top", "left", "right", "bottom"}
    assert ("left", 1, 2, "half") in display.steps
    again = Recorder()
    run(plan(), store, again, workers)
    assert again.stages == 0


def test_an_entry_says_what_it_was_made_of(store: Store) -> None:
    entries = run(plan(left={"times": 3}), store, Recorder(), 1)
    facts = store.result(entries["left"].name)
    assert facts is not None
    assert (facts["id"], facts["stage"]) == ("left", "planted_stages.Text")
    assert facts["params"] == {"name": "left", "takes": {"in top": "top"}, "times": 3}
    assert facts["inputs"] == {"takes.in top": entries["top"].name}
    assert facts["sources"] == ["planted_work"]
    assert facts["libraries"]["torch"]


def test_a_stage_alone_computes_with_the_threads_that_it_has_in_company(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = set()
    for workers, final in ((4, "top"), (1, "left"), (4, "bottom")):
        entry = run(plan(final=final), store, Recorder(), workers)[final]
        facts = store.result(entry.name)
        assert facts is not None
        found.add((facts["measured"]["threads"], facts["threads"]))
    assert found == {(2, 2)}


def test_independent_stages_run_at_the_same_time(store: Store) -> None:
    slow = {"act": Act(sleep=0.5)}
    entries = run(plan(left=slow, right=slow), store, Recorder(), 2)
    pids = {measured(store, entries[name])["pid"] for name in ("left", "right")}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_one_stage_has_the_gpu_and_others_run_beside_it(store: Store) -> None:
    """`a` and `b` ask for a GPU, `c` does not."""
    shape = {"a": (), "b": (), "c": (), "end": ("a", "b", "c")}
    slow = {"act": Act(sleep=0.6)}
    chosen = plan(shape, "end", a={**slow, "gpu": True}, b={**slow, "gpu": True}, c=slow)
    keys = stage_keys(chosen)
    store.prepare()
    agenda = Agenda(chosen, store, keys)
    run_side_by_side(agenda, store, Recorder(), 2, 1, one_on_gpu=True)
    spans = {
        chosen.labels[stage]: measured(store, store.root / "entries" / key)["time"]
        for stage, key in keys.items()
    }

    def together(first: str, second: str) -> bool:
        (begun, ended), (later, last) = spans[first], spans[second]
        return bool(max(begun, later) < min(ended, last))

    assert together("a", "c")
    assert not together("a", "b")


def test_a_stage_that_needs_a_gpu_is_passed_over_while_there_is_none_free(store: Store) -> None:
    chosen = plan(left={"gpu": True}, right={"gpu": True})
    run(plan(final="top"), store, Recorder(), 1)
    agenda = Agenda(chosen, store, stage_keys(chosen))
    assert agenda.take(gpu=False) is None
    taken = agenda.take()
    assert taken is not None
    assert taken.label == "left"


def test_an_error_is_raised_as_it_was_and_finished_work_is_kept(store: Store) -> None:
    chosen = plan(left={"act": Act(fail=True)}, right={"act": Act(sleep=60)})
    started = time.monotonic()
    with pytest.raises(InputError, match="planted: the key x is wrong"):
        run(chosen, store, Recorder(), 2)
    assert time.monotonic() - started < 50, "the other worker was waited for"
    made = Recorder()
    with pytest.raises(InputError):
        run(chosen, store, made, 2)
    assert "top" not in made.begun


def test_a_worker_that_dies_names_its_stage(store: Store) -> None:
    with pytest.raises(NotMeasuredError, match="stage left: its process ended with status -9"):
        run(plan(left={"act": Act(die=True)}), store, Recorder(), 2)


def test_an_input_that_vanishes_is_one_clear_line(store: Store) -> None:
    chosen = plan()
    store.prepare()
    agenda = Agenda(chosen, store, stage_keys(chosen))
    job = agenda.take()
    assert job is not None
    make(job, store, silent, print)
    agenda.done(job)
    waits = agenda.take()
    assert waits is not None
    (store.root / "entries" / job.key).rename(store.root / "gone")
    with pytest.raises(NotMeasuredError, match="stage left: its input top vanished from"):
        make(waits, store, silent, print)


def test_what_most_others_wait_for_comes_first() -> None:
    short, first = Text("short"), Text("first")
    second = Text("second", {"a": first})
    last = Text("last", {"a": second, "b": short})
    found = by_urgency([short, first, second, last])
    assert [stage.name for stage in found] == ["first", "short", "second", "last"]  # type: ignore[attr-defined]


def test_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    here = Path(__file__).parent
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path[:0] = [{str(here)!r}, {str(here / "planted")!r}]
        from planted_stages import Act, plan
        from umbench.engine.engines import execute
        from umbench.store import Store
        from test_engine import Recorder
        if __name__ == "__main__":
            slow = {{"act": Act(sleep=300)}}
            class Printing(Recorder):
                def step(self, label, *rest):
                    print(label, flush=True)
            store = Store(Path({str(tmp_path)!r}) / "store")
            execute(plan(left=slow, right=slow), store, Printing(), workers=2)
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


# By name ----------------------------------------------------------------------------------------


class Elsewhere:
    """An engine of a plug-in."""

    def run(self, agenda: Agenda, store: Store, display: Display, workers: int | None) -> None:
        while (job := agenda.take()) is not None:
            make(job, store, silent, display.say)
            agenda.done(job)
            display.end(f"{job.label} elsewhere")


def register(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sys.modules.setdefault("planted_engine", sys.modules[__name__])
    point = EntryPoint(name, "planted_engine:Elsewhere", engines.ENTRY_POINTS)
    monkeypatch.setattr(engines, "entry_points", lambda group: [point])


def test_an_engine_from_outside_makes_a_plan(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "elsewhere")
    assert engines.engine_names() == ["local", "elsewhere"]
    display = Recorder()
    entries = execute(plan(), store, display, get_engine("elsewhere"))
    assert len(entries) == 4
    assert display.ended[-1] == "bottom elsewhere"


def test_the_engine_of_the_page_on_plug_ins_makes_a_plan(store: Store) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/plugins.md").read_text()
    found = re.search(r"^```python\n(class OneByOne:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"make": make}
    exec(found[1], names)
    display = Recorder()
    assert len(execute(plan(), store, display, names["OneByOne"]())) == 4
    assert display.ended[-1] == "bottom"


def test_an_engine_that_takes_a_built_in_name_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch, "local")
    with pytest.raises(InputError, match="engine 'local' is built in, but planted_engine:Elsew"):
        get_engine("local")


def test_the_command_line_obeys_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, "elsewhere")
    monkeypatch.setattr(sys, "argv", ["umbench", "run", "quick", "--engine", "elswhere"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said == "Error: --engine: no engine 'elswhere'; did you mean 'elsewhere'?"
