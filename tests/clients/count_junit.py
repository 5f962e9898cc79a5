"""Says in one line what JUnit reports hold, below how each failed test ended, and fails when one failed or was skipped.
Arguments: the reports, or the folders that they are in."""

import os
import sys
import xml.etree.ElementTree as xml

LINES = 40

reports = [os.path.join(path, "junit.xml") if os.path.isdir(path) else path for path in sys.argv[1:]]
cases = [case for path in reports for case in xml.parse(path).iter("testcase")]
failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
skipped = [case for case in cases if case.find("skipped") is not None]
for case in failed:
    told = "".join(part.text or "" for part in case if part.tag in ("failure", "error", "system-out", "system-err"))
    print(f"FAILED {case.get('name')}, whose output ends:", *told.strip().splitlines()[-LINES:], "", sep="\n")
print(f"{len(cases) - len(failed) - len(skipped)} tests passed, {len(failed)} failed, {len(skipped)} skipped")
sys.exit(bool(failed or skipped or not cases))
