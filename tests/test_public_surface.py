"""What the packages offer at their top, and that asking one for a module costs no more than it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

PACKAGES = ["umbench", "umbench_baselines", "umbench_metrics"]


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_public_is_no_module(name: str) -> None:
    """`from package import name` would give the module, once that is imported."""
    package, public = importlib.import_module(name), importlib.import_module(f"{name}.public")
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(public.__all__)
    assert set(public.__all__) <= set(dir(package))
    for offered in public.__all__:
        assert getattr(package, offered) is getattr(public, offered)


@pytest.mark.parametrize("name", PACKAGES)
def test_modules_are_imported_alone_and_in_any_order(name: str) -> None:
    """Each by `from package import module`, first of all in a process of its own."""
    package = importlib.import_module(name)
    program = (
        "import os, sys\n"
        "import accelerate, monai.networks.nets, pandas, scipy.stats, torchvision.models\n"
        "for module in sys.argv[2:]:\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            exec(f'from {sys.argv[1]} import {module}')\n"
        "            public = f'{sys.argv[1]}.public'\n"
        "            assert module == 'public' or public not in sys.modules, module\n"
        "        except BaseException as error:\n"
        "            print(module, repr(error), flush=True)\n"
        "            os._exit(1)\n"
        "        os._exit(0)\n"
        "    assert os.wait()[1] == 0, module\n"
    )
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    assert len(modules) > 9
    made = subprocess.run(
        [sys.executable, "-c", program, name, *modules], text=True, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_what_is_not_there_is_an_attribute_error() -> None:
    import umbench_baselines

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = umbench_baselines.nothing
