"""For all tests: they run against the installed wheel, and in CI a skipped test is a failed one."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import regiment

IN_CI = os.environ.get("CI") == "true"
# A busy machine is not a fault.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# On further Pythons properties are tried out less: it is the code that has them, and not its interpreter.
settings.register_profile("quick", settings.get_profile("patient"), max_examples=20)
settings.load_profile("quick" if os.environ.get("REGIMENT_TEST_QUICK") == "1" else "patient")

SOURCE = Path(__file__).parents[1] / "src" / "regiment"


def pytest_configure() -> None:
    """Refuse to test anything but the wheel of this very checkout; REGIMENT_TEST_CHECKOUT=1 tests the checkout."""
    for number in (signal.SIGINT, signal.SIGHUP):
        # A shell lets what it starts in the background ignore them, and so would all that the tests start.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    if os.environ.get("REGIMENT_TEST_CHECKOUT") == "1" and not IN_CI:
        return
    installed = Path(next(iter(regiment.__path__)))
    if not installed.is_relative_to(sysconfig.get_path("purelib")):
        pytest.exit(f"regiment is imported from {installed} and not from an installed wheel; 'make pytest' has one", 2)
    differing = sorted(_contents(SOURCE).items() ^ _contents(installed).items())
    if differing:
        pytest.exit(f"the installed wheel is not of this checkout, see {differing[0][0]}; 'make pytest' builds it", 2)


def _contents(package: Path) -> dict[str, bytes]:
    folders = [package, *(package / room for room in ("jobs", "distribution", "launcher"))]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    return {str(file.relative_to(package)): file.read_bytes() for file in files}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped in CI: the machine there has to have what every test needs, but for GPUs."""
    report = yield
    expected_to_fail = hasattr(report, "wasxfail")
    if IN_CI and report.skipped and not expected_to_fail and item.get_closest_marker("gpu") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as a failure in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a whole file that was skipped in CI."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as a failure in CI: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in numbers what the chaos run came to; its parts may have run in several processes."""
    reports = (report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ()))
    parts = [dict(report.user_properties)["chaos"] for report in reports if "chaos" in dict(report.user_properties)]
    if parts:
        faults, right, survivors, seconds = (sum(numbers) for numbers in zip(*parts, strict=True))
        terminalreporter.write_line(
            f"chaos: {faults} random faults, {right} right verdicts, {survivors} survivors, {seconds:.0f} s in all"
        )
