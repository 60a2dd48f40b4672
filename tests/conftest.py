"""Settings and a summary line for the whole suite."""

from hypothesis import settings

# the same examples every time, no clock: a slow machine is no failure
settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=60
)
settings.load_profile("house")


def pytest_addoption(parser):
    """Let --screenshots DIR keep what the browser showed."""
    parser.addoption("--screenshots", metavar="DIR")


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

    def noted(wanted):
        """Return what tests have noted under a name."""
        return [
            value
            for reports in terminalreporter.stats.values()
            for report in reports
            if getattr(report, "when", "") == "teardown"
            for name, value in report.user_properties
            if name == wanted
        ]

    if fuzzed := sum(noted("fuzzed")):
        terminalreporter.write_line(
            f"fuzz: {fuzzed:,} inputs, each got a result or one clear sentence"
        )
    if counts := noted("two commands"):
        kills, halts, lost = (
            sum(count[kind] for count in counts)
            for kind in ("kills", "halts", "lost")
        )
        terminalreporter.write_line(
            f"two commands: {kills:,} kills and {halts:,} halts, {lost} lost"
        )
