"""Where the replies of `crosspoint rtpengine` differ from rtpengine 10.5.3.5, and why.

Each row: a pattern for the sequences it is about, a pattern for the lines of the comparison (`STEP - what rtpengine says`,
`STEP + what we say`), and the reason. `always` rows may be absent from a sequence that they match.
"""

import re
from dataclasses import dataclass


@dataclass
class Row:
    sequences: str
    lines: str
    reason: str


class Differences:
    def __init__(self, *rows):
        self.rows = rows

    def judged(self, name, found):
        """The lines that no row explains; and the rows for exactly this sequence that explain nothing."""
        rows = [row for row in self.rows if re.fullmatch(row.sequences, name)]
        unexplained = [line for line in found if not any(re.search(row.lines, line) for row in rows)]
        stale = [row for row in rows if row.sequences == re.escape(name) and not any(re.search(row.lines, line) for line in found)]
        return unexplained, stale


DIFFERENCES = Differences()
