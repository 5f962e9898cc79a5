"""A pytest plugin: leaves out what `excluded.txt` names, and writes down what became of the rest.

A line of that file is `<pattern><tab><reason>`. A pattern is a test's name, with `*` for anything; with `@` before it, a mark
of the suite's own; with `!` before it, a test that is run whatever its marks say. A reason that begins with `(alone)` counts only when
there is one account.
"""

import fnmatch
import json
import os


def rules():
    alone = os.environ["OUTCOMES_ACCOUNTS"] == "alone"
    with open(os.environ["OUTCOMES_EXCLUDED"], encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                pattern, reason = line.rstrip("\n").split("\t", 1)
                if alone or not reason.startswith("(alone)"):
                    yield pattern, reason.removeprefix("(alone) ")


def fits(pattern, item):
    if pattern.startswith("@"):
        return item.get_closest_marker(pattern[1:]) is not None
    return fnmatch.fnmatchcase(item.name, pattern)


class Outcomes:
    def __init__(self):
        self.excluded, self.phases = {}, {}

    def pytest_collection_modifyitems(self, config, items):
        known, kept, left_out = list(rules()), [], []
        always = [pattern[1:] for pattern, _ in known if pattern.startswith("!")]
        for item in items:
            reason = next((reason for pattern, reason in known if fits(pattern, item)), None)
            if any(fits(pattern, item) for pattern in always):
                reason = None
            if reason is None:
                kept.append(item)
            else:
                left_out.append(item)
                self.excluded[item.name] = reason
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split("::")[-1]
        self.phases.setdefault(name, []).append(report.outcome)

    def pytest_sessionfinish(self):
        of = {"passed": [], "failed": [], "skipped": []}
        for name, phases in sorted(self.phases.items()):
            worst = next((outcome for outcome in ("failed", "skipped") if outcome in phases), "passed")
            of[worst].append(name)
        with open(os.environ["OUTCOMES_FILE"], "w", encoding="utf-8") as file:
            json.dump({**of, "excluded": self.excluded}, file)


def pytest_configure(config):
    config.pluginmanager.register(Outcomes())
