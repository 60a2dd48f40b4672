"""Settings and a summary line for the whole suite."""

from hypothesis import settings

# the same examples every time, no clock: a slow machine is no failure
settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=60
)
settings.load_profile("house")


def pytest_terminal_summary(terminalreporter):
    """Say how many deliberate mistakes the checks caught."""

    def count(outcome):
        reports = terminalreporter.stats.get(outcome, [])
        return sum("mutant_is_caught[" in r.nodeid for r in reports)

    if caught := count("passed") + count("failed"):
        missed = count("failed")
        terminalreporter.write_line(
            f"mutants: {caught - missed} of {caught} mistakes caught"
        )
