"""Makes a JUnit report of what `cargo test` printed, for machines without cargo-nextest. Argument: the log."""

import re
import sys
import xml.etree.ElementTree as xml


def report(lines):
    root = xml.Element("testsuites", name="cargo-test")
    suite = failures = failure = None
    for line in lines:
        # What failed tests printed stands behind all results of their suite, between the first line that says
        # "failures:" and the second.
        if line == "failures:\n":
            failures, failure = (None if failures else {case.get("name"): case.find("failure") for case in suite}), None
        elif failures and (told := re.match(r"---- (.+) stdout ----", line)):
            failure = failures.get(told.group(1))
        elif failure is not None:
            failure.text = (failure.text or "") + re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", line)
        if running := re.match(r"\s+(?:Running|Doc-tests) (.+)", line):
            suite = xml.SubElement(root, "testsuite", name=running.group(1).strip())
        elif (test := re.match(r"test (.+?) \.\.\. (ok|FAILED|ignored)", line)) and suite is not None:
            case = xml.SubElement(suite, "testcase", name=test.group(1), classname=suite.get("name"))
            if test.group(2) == "FAILED":
                xml.SubElement(case, "failure", type="test failure")
            elif test.group(2) == "ignored":
                xml.SubElement(case, "skipped")
    for part in [root, *root]:
        part.set("tests", str(len(part.findall(".//testcase"))))
        part.set("failures", str(len(part.findall(".//failure"))))
    return root


with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
    xml.ElementTree(report(log)).write(sys.stdout.buffer, encoding="utf-8", xml_declaration=True)
