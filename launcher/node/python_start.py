"""Lets the Pythons of a job import Regiment where it isn't installed.

A copy of this file called `sitecustomize.py` lies in a folder that comes first in the job's PYTHONPATH, so that
Python's own `site` imports it at start. It puts the packed Regiment last on `sys.path`, where it shadows nothing of the
user's, runs the guard of MPI's ranks where one lies beside it, and hands on to the `sitecustomize` that Python would
have found without us, with the `sys.path` it would have had.

Any Python that a job starts meets this file, so it is written in words that all of them understand.
"""

import os
import sys

GUARD = "regiment_mpi_guard"
_here = os.path.dirname(__file__)


def _begin():  # type: ignore[no-untyped-def]
    place = os.environ.get("REGIMENT_ZIP")
    if place and place not in sys.path:
        sys.path.append(place)
    if os.path.exists(os.path.join(_here, GUARD + ".py")):
        __import__(GUARD)
    _run_next()  # type: ignore[no-untyped-call]


def _run_next():  # type: ignore[no-untyped-def]
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    ours = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        sys.modules.setdefault(__name__, ours)  # Who imports us still waits to find it there.
        if getattr(error, "name", __name__) != __name__:
            raise


if __name__ == "sitecustomize":  # And not where Regiment's own code reads the name above.
    _begin()  # type: ignore[no-untyped-call]
