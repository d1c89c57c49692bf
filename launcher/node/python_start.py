"""Lets the Pythons of a job import Regiment where it isn't installed.

A copy of this file called `sitecustomize.py` lies in a folder that comes first in the job's PYTHONPATH, so that
Python's own `site` imports it at start. It lets the packed Regiment be found last, where it shadows nothing of the
user's, runs the guard of MPI's ranks and what tells of a start where they lie beside it, and hands on to the
`sitecustomize` that Python would have found without us, with the `sys.path` it would have had.

Any Python that a job starts meets this file, so it is written in words that all of them understand.
"""

import os
import sys

GUARD = "regiment_mpi_guard"
LEDGER = "regiment_ledger"
_here = os.path.dirname(__file__)


class _Packed:
    """Finds the packed Regiment, and nothing else.

    On `sys.path` the zip would be opened by whoever lists what is installed, and a process that has files open is not
    forked (`start_method: fork`).
    """

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "regiment":
            return None
        import zipimport

        return zipimport.zipimporter(os.environ["REGIMENT_ZIP"]).find_spec(name)


def _begin():  # type: ignore[no-untyped-def]
    if sys.version_info >= (3, 10) and os.environ.get("REGIMENT_ZIP"):
        sys.meta_path.append(_Packed)
    for name in (GUARD, LEDGER):
        if sys.version_info >= (3, 8) and os.path.exists(os.path.join(_here, name + ".py")):
            __import__(name)
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
