"""Settings and summary lines for the whole suite.

pytest reads this file before it imports NumPy. What it puts into the
environment also reaches xdist's workers, nbval's kernels and subprocesses.
"""

import os
from collections import Counter

from hypothesis import settings

os.environ |= {
    "WORKBOOK_DATA": "grammar",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

# the same examples every time, no clock: a slow machine is no failure
settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=60
)
settings.load_profile("house")


def pytest_addoption(parser):
    """Let --screenshots DIR keep what the browser showed."""
    parser.addoption("--screenshots", metavar="DIR")


def pytest_collection_modifyitems(config, items):
    """Let xdist's workers begin with the files that take longest."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter):
    """Say how many mistakes were caught and how many inputs were answered."""

    def count(outcome):
        reports = terminalreporter.stats.get(outcome, [])
        return sum("mutant_is_caught[" in r.nodeid for r in reports)

    if caught := count("passed") + count("failed"):
        missed = count("failed")
        terminalreporter.write_line(
            f"mutants: {caught - missed} of {caught} mistakes caught"
        )

    fuzzed = sum(recorded(terminalreporter, "fuzzed"))
    if fuzzed:
        terminalreporter.write_line(
            f"fuzz: {fuzzed:,} inputs, each got a result or one clear sentence"
        )
    for name in ("mistakes", "two commands"):
        counts = Counter()
        for found in recorded(terminalreporter, name):
            counts.update(found)
        if counts:
            said = ", ".join(f"{kind} {n:,}" for kind, n in counts.items())
            terminalreporter.write_line(f"{name}: {said}")


def recorded(terminalreporter, name):
    """Return what tests recorded under a name."""
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for key, value in report.user_properties
        if key == name
    ]
