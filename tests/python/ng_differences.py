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


ANY = r".*"

DIFFERENCES = Differences(
    Row(
        ANY,
        r"- /sdp\[\]: a=crypto:T (F8_128|NULL|AES_192|AES_256_CM_HMAC_SHA1_32)",
        "Suites without encryption, the obsolete F8 and the rare 192-bit ones are not offered.",
    ),
    Row(ANY, r"\+ /sdp\[\]: a=ice-lite", "We are the lite side of ICE and say so (RFC 8445 §2.5)."),
    Row(
        ANY,
        r"- /sdp\[\]: a=candidate:F16 \d UDP \d+ ::1 Q(\+1)? typ (host|relay)",
        "A leg has ports of one address family: no candidates of the other.",
    ),
)
