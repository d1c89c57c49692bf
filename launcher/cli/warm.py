"""`regiment warm`: modules that stay imported between runs."""

from __future__ import annotations

import argparse

from .. import warming
from .output import answer, columns, say

_COLUMNS = {"modules": "MODULES", "python": "PYTHON", "isReady": "READY", "secondsLeft": "SECONDS LEFT", "pid": "PID"}


def warm(options: argparse.Namespace) -> int:
    """Keep modules imported, or show or end what is kept."""
    if options.stop:
        ended = warming.stop_all()
        say(f"regiment: ended {len(ended)} warm pool{'s' if len(ended) != 1 else ''}")
        return 0
    if options.list:
        states = warming.kept()
        answer(options, states, columns(states, _COLUMNS))
        return 0
    named = ", ".join(options.preload)
    say(f"regiment: importing {named}")
    state = warming.keep_warm(options.preload, options.seconds, options.any_env)
    say(
        f"regiment: {named} stays imported for {state['secondsLeft']:.0f} s; runs with start_method fork fork from it, "
        "'regiment warm --stop' ends it"
    )
    return 0
