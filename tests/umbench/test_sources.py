"""What a stage runs, as source tells: neither less nor more, and nothing is imported for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from umbench.engine.modules import read_module
from umbench.engine.sources import all_packages, closure, distribution_version

Plant = Callable[[dict[str, str]], None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Writes files where modules are found, and forgets what was read; `a/b` means `a/b.py`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def plant(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()

    yield plant
    forget()


def forget() -> None:
    for cached in (closure, read_module, distribution_version, all_packages):
        cached.cache_clear()
    importlib.invalidate_caches()


def held(*modules: str) -> set[str]:
    """Names of the files that modules consist of, without endings."""
    return {name.removesuffix(".py") for name in closure(modules).files}


FORMS = {
    "import pk.there": True,
    "import pk.there as short": True,
    "from pk import there": True,
    "from pk.there import thing": True,
    "from . import there": True,
    "from .there import thing": True,
    "def f():\n    from pk import there": True,
    "class A:\n    def f(self):\n        if self:\n            import pk.there": True,
    "try:\n    import pk.there\nexcept ImportError:\n    pass": True,
    "if TYPE_CHECKING:\n    pass\nelse:\n    import pk.there": True,
    "if TYPE_CHECKING:\n    import pk.there": False,
    "import typing\nif typing.TYPE_CHECKING:\n    from pk import there": False,
    "def f():\n    if TYPE_CHECKING:\n        from . import there": False,
    "# import pk.there": False,
    "'import pk.there'": False,
    "from pk import elsewhere": False,
}


@pytest.mark.parametrize("text", FORMS)
def test_imports_of_every_form_are_followed_but_those_for_types(plant: Plant, text: str) -> None:
    plant({"pk/__init__": "", "pk/here": text, "pk/there": "thing = 1", "pk/other": ""})
    found = {"pk/__init__", "pk/here"} | ({"pk/there"} if FORMS[text] else set())
    assert held("pk.here") == found


def test_imports_are_followed_on_and_on_in_circles_too(plant: Plant) -> None:
    plant({
        "pk/__init__": "from pk import used_by_all",
        "pk/used_by_all": "",
        "pk/a": "from .deep.b import x",
        "pk/deep/__init__": "",
        "pk/deep/b": "from ..c import y\nfrom . import inner",
        "pk/deep/inner": "",
        "pk/c": "import pk.a",
        "pk/left_out": "import pk.a",
    })  # fmt: skip
    found = {"__init__", "used_by_all", "a", "c", "deep/__init__", "deep/b", "deep/inner"}
    assert held("pk.a") == held("pk.deep.b") == {f"pk/{name}" for name in found}
    assert held("pk") == {"pk/__init__", "pk/used_by_all"}


def test_folders_without_init_and_single_modules_are_followed(plant: Plant) -> None:
    plant({"space/a": "import space.b", "space/b": "", "single": "import space.a, json"})
    assert held("space.a") == {"space/a", "space/b"}
    assert held("single") == {"single", "space/a", "space/b"}


def test_what_is_not_there_is_an_error_where_it_is_asked_for_and_else_left_out(
    plant: Plant,
) -> None:
    plant({"pk/__init__": "", "pk/a": "try:\n    import pk.optional\nexcept ImportError: pass"})
    assert held("pk.a") == {"pk/__init__", "pk/a"}
    with pytest.raises(ModuleNotFoundError, match=r"pk\.optional"):
        closure(("pk.optional",))
    with pytest.raises(ModuleNotFoundError, match=r"nowhere\.at_all"):
        closure(("nowhere.at_all",))


def test_files_of_a_package_count_beside_its_modules(plant: Plant) -> None:
    plant({"pk/__init__": "", "pk/a": "", "pk/inner/b": "", "pk/README.md": "",
           "pk/facts.json": "", "pk/templates/page.j2": "", "pk/inner/c.yaml": "",
           "pk/deeper/still/c.yaml": ""})  # fmt: skip
    assert held("pk.a") == {"pk/__init__", "pk/a", "pk/facts.json", "pk/templates/page.j2"}
    assert "pk/inner/c.yaml" in held("pk.inner.b")


TABLE = """
\"\"\"What there is.\"\"\"
from typing import TYPE_CHECKING
import importlib

if TYPE_CHECKING:
    from pk.a import first as first
    from .b import second
_WHERE = {"first": "pk.a", "second": "pk.b"}
LEVEL = 3

def __getattr__(name):
    return getattr(importlib.import_module(_WHERE[name]), name)
"""
A_PACKAGE = {"pk/__init__": TABLE, "pk/a": "first = 1", "pk/b": "second = 1", "pk/c": ""}


def test_of_a_table_of_contents_only_what_is_asked_is_followed(plant: Plant) -> None:
    plant({**A_PACKAGE, "pk/one": "from pk import first", "pk/both": "import pk",
           "pk/all": "from pk import *", "pk/sub": "import pk.c", "pk/odd": "from pk import what",
           "pk/level": "from pk import LEVEL"})  # fmt: skip
    assert held("pk.one") == {"pk/one", "pk/a"}
    assert held("pk.sub") == {"pk/sub", "pk/c"}
    assert held("pk.level") == {"pk/level"}
    for name in ("both", "all", "odd"):
        assert held(f"pk.{name}") == {f"pk/{name}", "pk/a", "pk/b"}


def test_a_name_more_in_a_table_of_contents_changes_nothing_another_meaning_does(
    plant: Plant,
) -> None:
    users = {"pk/one": "from pk import first, LEVEL\nimport pk.c"}
    plant({**A_PACKAGE, **users})
    code = closure(("pk.one",)).code
    more = TABLE.replace("import second", "import second, third").replace("= {", '= {"third": 0, ')
    assert more != TABLE
    plant({**A_PACKAGE, **users, "pk/__init__": more})
    assert closure(("pk.one",)).code == code
    for old, new in (("pk.a import first", "pk.c import first"), ("LEVEL = 3", "LEVEL = 4")):
        plant({**A_PACKAGE, **users, "pk/__init__": TABLE.replace(old, new)})
        assert closure(("pk.one",)).code != code


@pytest.mark.parametrize("more", ["print()", "LEVEL = len('abc')", "def f(): pass", "import pk.c"])
def test_a_package_that_does_more_than_serve_counts_itself(plant: Plant, more: str) -> None:
    plant({**A_PACKAGE, "pk/__init__": TABLE + more, "pk/one": "from pk import first"})
    only_an_import = more.startswith("import")
    assert ("pk/__init__" in held("pk.one")) != only_an_import
    assert ("pk/c" in held("pk.one")) == only_an_import


def test_a_table_of_contents_may_stand_in_a_module_of_its_own(plant: Plant) -> None:
    table = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pk.public import *\n"
    public = "from pk.a import first\nfrom pk.b import second\n__all__ = ['first', 'second']"
    plant({**A_PACKAGE, "pk/__init__": table + "def __getattr__(name): ...", "pk/public": public,
           "pk/one": "from pk import first", "pk/all": "import pk"})  # fmt: skip
    assert held("pk.one") == {"pk/one", "pk/a"}
    assert held("pk.all") == {"pk/all", "pk/public", "pk/a", "pk/b"}


REGISTRY = """
from registries import Registry

ADDRESSES = {
    "one": "pk.one:One",  # a comment
    "two": "pk.two",
}
REGISTRY = Registry(noun="x", built_in={"three": "pk.three:Three"}, level=1)
"""


def test_a_registry_does_not_count_but_all_around_it_does(plant: Plant) -> None:
    def code(text: str) -> str:
        plant({"pk/__init__": "", "pk/registry": text})
        return closure(("pk.registry",)).code

    plain = code(REGISTRY)
    for old, new in (
        ('"two": "pk.two",\n', '"two": "pk.other",\n    "four": "pk.four",\n'),
        ("pk.three:Three", "pk.three:Other"),
        ("# a comment", "# another"),
    ):
        assert code(REGISTRY.replace(old, new)) == plain
    for old, new in (("level=1", "level=2"), ("ADDR", "addr"), ("pk.two", "no address"),
                     ("}\nREG", "} | other\nREG"), ('"pk.two"', "3")):  # fmt: skip
        assert code(REGISTRY.replace(old, new)) != plain
    inside = "def f():\n    return {'one': 'pk.one'}"
    assert code(inside) != code(inside.replace("pk.one", "pk.two"))


# What comes from outside ------------------------------------------------------------------------


def distribution(name: str, version: str, points: str = "", files: str = "") -> dict[str, str]:
    folder = f"{name.replace('-', '_')}-0.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{folder}/entry_points.txt": points,
        f"{folder}/RECORD": files,
    }


def test_of_a_library_the_version_counts_and_without_one_its_source(plant: Plant) -> None:
    files = {"pk/__init__": "", "pk/a": "import lib.x, json, misnamed, gone, loose, rich",
             "pk/b": "", "pk/c": "", "lib/x": "import pk.c", "misnamed": "",
             "loose": "import pk.b"}  # fmt: skip
    versions = {}
    for version in ("1", "2"):
        plant({**files, **distribution("lib", version),
               **distribution("other-name", "7", files="misnamed.py,,\n")})  # fmt: skip
        assert held("pk.a") == {"pk/__init__", "pk/a", "loose", "pk/b"}
        versions[version] = closure(("pk.a",)).versions
    assert versions["1"] == {"lib": "1", "other-name": "7", "gone": "", "loose": ""}
    assert versions["2"] == {**versions["1"], "lib": "2"}


def test_a_plug_in_is_covered_with_its_distribution_version_and_source(plant: Plant) -> None:
    points = "[umbench.generators]\nmine = plug.generator:Mine\n"
    found = distribution("plug-in", "1.5", points, "plug/generator.py,,\nplug_core.py,,\n")
    plant({**found, "plug/__init__": "", "plug/left_out": "", "plug/deep": "",
           "plug/generator": "import plug_core, torch, umbench.errors",
           "plug_core": "import plug.deep"})  # fmt: skip
    own = {"plug/__init__", "plug/generator", "plug/deep", "plug_core"}
    assert held("plug.generator") - {"umbench/__init__"} == own | {"umbench/errors"}
    versions = closure(("plug.generator",)).versions
    assert set(versions) == {"plug-in", "torch"}
    assert versions["plug-in"] == "1.5"
    assert "plug-in" not in closure(("umbench.errors",)).versions


def test_libraries_are_told_by_the_names_of_their_distributions() -> None:
    for top, name in (("torch", "torch"), ("PIL", "pillow"), ("skimage", "scikit-image")):
        found, version = distribution_version(top)
        assert found == name
        assert version[0].isdigit()


def test_nothing_is_imported(plant: Plant) -> None:
    plant(
        {"pk/__init__": "raise SystemExit", "pk/a": "import pk.b\nraise SystemExit", "pk/b": "1/0"}
    )
    before = set(sys.modules)
    assert len(held("pk.a")) == 3
    assert closure(("umbench_baselines.stylegan.train", "umbench_metrics.frechet")).versions[
        "torch"
    ]
    assert set(sys.modules) == before
