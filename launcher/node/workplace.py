"""Where a node's processes work: folders and inputs made before they start, brought in and put away after them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.distribution.environment import merged
from regiment.distribution.plan import NodePlan
from regiment.jobs.files import private_folder

from . import folders, messages, scratch
from .config import NodeConfig
from .nodelog import Kind, NodeLog
from .progress import NewOutputs
from .tag import TAG

if TYPE_CHECKING:
    from .inputs import Inputs
    from .livelogs import LiveLogs


_OUR_LOGS = frozenset({"azureml"})
"""The folder below ./logs whose name is taken in the run folder: our own logs lie there."""


class Workplace:
    """One node's; `make` and `bring_in` take their time and are called in threads."""

    def __init__(self, config: NodeConfig, log: NodeLog, has_views: bool, warn: Callable[[str], None]) -> None:
        self._config = config
        self._log = log
        self._has_views = has_views
        self._warn = warn
        self._inputs: Inputs | None = None
        self._live_logs: LiveLogs | None = None
        self._at_rest = threading.Event()
        self._at_rest.set()
        self._has_inputs = False
        self._new_outputs: NewOutputs | None = None
        self.order: messages.Prepare | None = None
        self._ordered_at = 0.0
        self.fetching: tuple[float, float] | None = None
        """When bringing the inputs began and ended, in seconds since the order; None where none were brought."""

    def take(self, order: messages.Prepare) -> None:
        """Take the order for what `make` is to do."""
        self.order = order
        self.fetching = None
        self._ordered_at = time.monotonic()
        if order.plan is not None and not self._has_inputs:
            self._inputs = self._make_inputs(order.plan)
        self._at_rest.clear()

    def make(self) -> None:
        """Make the folders and bring the inputs; raises OSError."""
        try:
            self._make()
        finally:
            self._at_rest.set()

    @property
    def looks_at_outputs(self) -> bool:
        """Say whether the attempt is asked at its end if it has written anything new."""
        return self.order is not None and self.order.looks_at_outputs

    def has_new_outputs(self) -> bool:
        """Say whether the attempt has written anything new, once nothing is being made any more."""
        self._at_rest.wait()
        return self._new_outputs is not None and self._new_outputs.are_there()

    def abandon(self) -> None:
        """Let `make` end soon: the run is being stopped."""
        if self._inputs is not None:
            self._inputs.abandon()

    def bring_in(self) -> None:
        """Bring what the job wrote into the run folder, and put the rest away; raises OSError."""
        # The making is over or will be in a moment, and two threads must not work in one folder.
        self._at_rest.wait()
        order = self.order
        if order is None:
            return
        if self._live_logs is not None:
            self._live_logs.finish()
        self._bring_in_outputs(order)
        if order.code is None:
            self._log.write(Kind.JOB_POST, f"what the job wrote to its folder stays in {order.working_folder}")
            return
        folder, code = Path(order.working_folder), Path(order.code)
        outputs, logs = Path(self._config.outputs), Path(self._config.logs)
        count, problems = folders.collect(folder / "outputs", outputs, code / "outputs")
        more, others = folders.collect(folder / "logs", logs, code / "logs", leave_out=_OUR_LOGS)
        self._log.write(Kind.JOB_POST, f"collected {count + more} files of ./outputs and ./logs")
        if self._live_logs is not None and self._config.live_logs != self._config.logs:
            self._live_logs.remove_collected()
        if not self._tell_problems(folder, problems + others):
            scratch.remove(order.working_folder)

    def put_away(self) -> None:
        """Take away what the run's nodes shared, where no coordinator is left to do it; the last one finds it gone."""
        scratch.remove(self._config.fetched)
        scratch.remove_if_empty(os.path.dirname(self._config.fetched))

    def _make(self) -> None:
        order = self.order
        assert order is not None
        self._log.open(Path(order.logs, order.log_prefix))
        if order.code is None:
            if not os.path.isdir(order.working_folder):
                raise OSError(
                    f"there is no {order.working_folder} on {self._config.node_id}; give 'code:' to send it there"
                )
            text = f"processes run in {order.working_folder} as it stands; there is no snapshot"
        elif order.is_again and os.path.isdir(order.working_folder):
            text = f"processes run in {order.working_folder} again, as it was left"
        else:
            count = folders.copy_code(Path(order.code), Path(order.working_folder))
            text = f"copied {count} files of the snapshot to {order.working_folder}"
        self._log.write(Kind.JOB_PREP, text)
        if self._inputs is not None and not self._has_inputs:
            private_folder(Path(self._config.fetched).parent)
            began = time.monotonic()
            self._inputs.make()
            self.fetching = began - self._ordered_at, time.monotonic() - self._ordered_at
            self._has_inputs = True  # They stay for a further attempt; some are mounts, which must not be made twice.
        if order.looks_at_outputs:
            named = order.plan.data.outputs if order.plan is not None else ()
            self._new_outputs = NewOutputs((f"{order.working_folder}/outputs", *(output.folder for output in named)))
        if order.code is not None and self._live_logs is None:
            from .livelogs import LiveLogs  # A job without a snapshot has no use for it.

            written = Path(order.working_folder, "logs")
            self._live_logs = LiveLogs(written, Path(self._config.live_logs), Path(order.code, "logs"), _OUR_LOGS)
            self._live_logs.start()

    def _make_inputs(self, plan: NodePlan) -> Inputs:
        # Most jobs have none, and an agent is there in the time that this and what it needs takes to import.
        from .inputs import Fetchers, Inputs

        config = self._config
        fetchers = Fetchers(
            own_argv=(config.python, "-I", "-S", config.zip, "fetch"),
            jobs_argv=(plan.node.python, config.zip, "fetch"),
            environ=merged(os.environ, plan.defaults, plan.path_first, plan.environ, {TAG: config.tag}),
            folder=config.fetched,
        )

        def log(text: str) -> None:
            self._log.write(Kind.JOB_PREP, text)

        return Inputs(plan.data, fetchers, self._has_views, log, self._warn)

    def _bring_in_outputs(self, order: messages.Prepare) -> None:
        if order.plan is None or self._inputs is None:
            return
        complete = True
        for output in order.plan.data.outputs:
            count, problems = folders.collect(Path(output.folder), Path(self._config.outputs, output.name), None)
            self._log.write(Kind.JOB_POST, f"collected {count} files of output {output.name!r}")
            complete = not self._tell_problems(Path(output.folder), problems) and complete
        if complete:
            self._inputs.remove()

    def _tell_problems(self, folder: Path, problems: list[str]) -> bool:
        """Say what could not be collected and where it stays; gives whether there was anything."""
        for problem in problems:
            self._log.write(Kind.JOB_POST, f"not collected: {problem}")
        if problems:
            self._warn(f"{len(problems)} files were not collected and stay in {folder}; {problems[0]}")
        return bool(problems)
