"""Files under way: what the dead left is swept, what others write is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from umbench import temporaries
from umbench.data.annotated_set import write_set
from umbench.data.phantom import make_phantom_set
from umbench.store import Store, replacing

KEY = "a" * 64
GONE = 2**22 + 5
"""A process number beyond the largest that Linux gives."""


def left(name: str, host: str | None = None, process: int = GONE) -> str:
    return f"{name}.{host or temporaries.this_host()}.{process}"


STRANGE = [
    "y.99999999999999999999",
    f"y.{temporaries.this_host()}.99999999999999999999",
    f"y.{temporaries.this_host()}.9999999999",
    f"y.{temporaries.this_host()}.0",
    f"y.{temporaries.this_host()}.-1",
    f"y.{temporaries.this_host()}.４１９４３０９",
    f"{KEY}.{GONE}",
    "y",
    "y..",
    left(KEY, "other-host-0123456789ab"),
    left("probe", "other-host-0123456789ab"),
]


@pytest.mark.parametrize("folder", ["temporary", "last", f"scratch/{KEY}"])
def test_only_what_the_dead_of_this_host_left_is_swept(tmp_path: Path, folder: str) -> None:
    store = Store(tmp_path / "store")
    (store.root / folder).mkdir(parents=True)
    mine = left(KEY, process=os.getpid())
    for name in (*STRANGE, mine, left("a file")):
        (store.root / folder / name).touch()
    (store.root / folder / left("a folder") / "deep").mkdir(parents=True)
    (store.root / folder / left("a link")).symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    store.prepare()
    store.scratch(KEY)
    assert {p.name for p in (store.root / folder).iterdir()} == {*STRANGE, mine}
    assert (tmp_path / "kept").is_dir()


def test_a_host_has_one_name_that_differs_by_boot_and_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot").write_text("1")
    (tmp_path / "namespace").symlink_to("pid:[1]")
    monkeypatch.setattr(temporaries, "BOOT", tmp_path / "boot")
    monkeypatch.setattr(temporaries, "NAMESPACE", tmp_path / "namespace")
    name = temporaries.this_host.__wrapped__
    names = {name(), name()}
    assert len(names) == 1
    (tmp_path / "boot").write_text("2")
    names.add(name())
    (tmp_path / "namespace").unlink()
    (tmp_path / "namespace").symlink_to("pid:[2]")
    names.add(name())
    monkeypatch.setattr("socket.gethostname", lambda: "Ein Name, länger als fünfzehn Zeichen.de")
    names.add(name())
    monkeypatch.setattr(temporaries, "BOOT", tmp_path / "absent")
    monkeypatch.setattr(temporaries, "NAMESPACE", tmp_path / "absent")
    names.add(name())
    assert len(names) == 5
    for found in names:
        assert temporaries._OWNED.fullmatch(f"x.{found}.1"), found


def test_a_killed_write_of_a_file_is_swept_by_the_next(tmp_path: Path) -> None:
    old, others, live = (
        tmp_path / left(".x.txt"), tmp_path / left(".y.txt"), tmp_path / left(".x.txt", "other-1")
    )  # fmt: skip
    for path in (old, others, live):
        path.touch()
    with replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
    assert not old.exists()
    assert others.exists()
    assert live.exists()
    assert (tmp_path / "x.txt").read_text() == "new"


def test_a_killed_write_of_a_set_is_swept_by_the_next(tmp_path: Path) -> None:
    old, others = tmp_path / left(".set"), tmp_path / left(".set", "other-1")
    for path in (old, others):
        (path / "images").mkdir(parents=True)
        (path / "images/0.png").touch()
    write_set(tmp_path / "set", make_phantom_set(subjects=1, size=32, seed=0))
    assert {p.name for p in tmp_path.iterdir()} == {"set", others.name}


WRITER = """
    import sys, time
    from pathlib import Path
    from umbench.store import Store
    from umbench.temporaries import this_process
    store = Store(Path(sys.argv[1]))
    store.prepare()
    def slow(folder):
        (folder / "x").write_text("of the first")
        Path(sys.argv[2]).write_text(this_process())
        while Path(sys.argv[2]).exists():
            time.sleep(0.05)
        return {}
    with store.locked("a" * 64):
        store.write("a" * 64, slow, {})
"""
OBSERVER = """
    import sys
    from pathlib import Path
    from umbench.store import Store
    store = Store(Path(sys.argv[1]))
    store.prepare()
    (found,) = (store.root / "temporary").iterdir()
    assert (found / "x").read_text() == "of the first", found
    def told(holder):
        print(holder, flush=True)
        Path(sys.argv[2]).unlink()
    with store.locked("a" * 64, told):
        assert store.clear("a" * 64) is None
        print((store.checked("a" * 64) / "x").read_text())
"""
APART = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def test_two_containers_share_a_store_and_no_work_is_lost(tmp_path: Path) -> None:
    """The writer's process number stands for nobody in the observer's namespace."""
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip(
            "process namespaces need rights that are not given here; a faked name stands in"
        )
    for name, program in (("writer", WRITER), ("observer", OBSERVER)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(program))
    arguments = [str(tmp_path / "store"), str(tmp_path / "under-way")]
    many = f"for i in $(seq 40); do true & done; {sys.executable} {tmp_path}/writer.py $@; exit $?"
    writer = subprocess.Popen([*APART, "sh", "-c", many, "sh", *arguments])
    try:
        deadline = time.monotonic() + 120
        holder = ""
        while not holder and time.monotonic() < deadline:
            time.sleep(0.05)
            if (tmp_path / "under-way").exists():
                holder = (tmp_path / "under-way").read_text()
        assert int(holder.rpartition(":")[2]) > 40
        observer = subprocess.run(
            [*APART, sys.executable, str(tmp_path / "observer.py"), *arguments],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert observer.returncode == 0, observer.stderr
        assert observer.stdout.splitlines() == [holder, "of the first"]
        assert writer.wait(60) == 0
    finally:
        writer.kill()
        writer.wait()
