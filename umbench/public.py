"""What `from umbench import ...` offers."""

from umbench.data.annotated_set import AnnotatedSet, read_set, write_set
from umbench.data.phantom import make_phantom_set
from umbench.engine.engines import Engine, execute
from umbench.engine.keys import stage_keys
from umbench.engine.status import Status, status
from umbench.errors import InputError, NotMeasuredError, UmbenchError
from umbench.leaderboard.provenance import Provenance
from umbench.leaderboard.tables import read_leaderboard
from umbench.pipeline import Context, Plan, Stage
from umbench.running import run_suite
from umbench.store import Store
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan
from umbench.suite.schema import Suite

__all__ = [
    "AnnotatedSet",
    "Context",
    "Engine",
    "InputError",
    "NotMeasuredError",
    "Plan",
    "Provenance",
    "Stage",
    "Status",
    "Store",
    "Suite",
    "UmbenchError",
    "build_plan",
    "execute",
    "load_suites",
    "make_phantom_set",
    "read_leaderboard",
    "read_set",
    "run_suite",
    "stage_keys",
    "status",
    "write_set",
]
