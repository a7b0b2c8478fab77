# SPDX-License-Identifier: BSD-3-Clause
"""Adds up what ./test has run; the last line is "N passed, N failed".

The directory given holds, for each runner, NAME.xml (JUnit), NAME.status (its
exit status) and, from Meson, NAME.json: Meson's JUnit file does not tell when
a test timed out, or crashed after its last subtest, but its JSON log does.
`failed-steps` names steps that could not run at all, one a line.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

GOOD = {"OK", "SKIP", "EXPECTEDFAIL"}


class Runner:
    """The cases of one runner."""

    def __init__(self, status_file: pathlib.Path):
        self.name = status_file.stem
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.bad: dict[str, str] = {}  # Meson's tests, until a case tells
        log = status_file.with_suffix(".json")
        if log.is_file():
            self.read_meson(log)
        xml = status_file.with_suffix(".xml")
        if xml.is_file():
            self.read_junit(xml)
        self.failed += [f"{name} ({result})"
                        for name, result in self.bad.items()]
        if int(status_file.read_text()) != 0 and not self.failed:
            self.failed.append("the runner itself (see its output above)")

    def read_junit(self, path: pathlib.Path) -> None:
        try:
            cases = ElementTree.parse(path).iter("testcase")
            for case in cases:
                self.add_case(case)
        except ElementTree.ParseError:
            self.failed.append(f"{path.name} cannot be read")

    def add_case(self, case: ElementTree.Element) -> None:
        group, title = case.get("classname", ""), case.get("name", "")
        name = f"{group} {title}".strip()
        kinds = {child.tag for child in case}
        # Meson: PROJECT.TEST and SUBTEST, or PROJECT and TEST.
        test = group.partition(".")[2] or title
        if kinds & {"failure", "error"}:
            self.failed.append(name)
            self.bad.pop(test, None)
        elif test == title and test in self.bad:
            pass  # timed out, for one
        elif "skipped" in kinds:
            child = case.find("skipped")
            reason = child.get("message", "") if child is not None else ""
            self.skipped.append(f"{name}: {reason}" if reason else name)
        else:
            self.passed += 1

    def read_meson(self, path: pathlib.Path) -> None:
        for line in path.read_text().splitlines():
            test = json.loads(line)
            if test["result"] not in GOOD:
                self.bad[test["name"]] = test["result"]

    def show(self) -> None:
        print(f"{self.name:<18}{self.passed:>6} passed"
              f"{len(self.failed):>6} failed{len(self.skipped):>6} skipped")
        for word, names in (("FAILED", self.failed),
                            ("skipped", self.skipped)):
            for name in names:
                print(f"    {word}: {name}")


def main() -> int:
    results = pathlib.Path(sys.argv[1])
    runners = [Runner(path) for path in sorted(results.glob("*.status"))]
    steps_file = results / "failed-steps"
    steps = steps_file.read_text().splitlines() if steps_file.exists() else []
    print()
    for runner in runners:
        runner.show()
    for step in steps:
        print(f"FAILED: {step}")
    passed = sum(runner.passed for runner in runners)
    failed = sum(len(runner.failed) for runner in runners) + len(steps)
    if passed + failed == 0:
        print("FAILED: no test was run")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
