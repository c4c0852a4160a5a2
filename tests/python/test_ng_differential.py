"""The same requests to Debian's rtpengine and to `crosspoint rtpengine`; the replies are compared.

    sequence ──> rtpengine ──> replies ──┐
         └─────> crosspoint ─> replies ──┴─> normalised, compared key by key and SDP line by line

What a relay chooses by itself (ports, keys, ufrags, foundations, tags) is replaced by its kind before the comparison. The
differences that remain are listed with their reasons in `ng_differences.py`; one that is not listed fails, and so does
one that is listed and is not there any more.

    python test_ng_differential.py              all
    python test_ng_differential.py --show NAME  one sequence, side by side
"""

import re
import sys
import unittest

from ng_client import Relay
from ng_differences import DIFFERENCES
from ng_sequences import SEQUENCES

INTERFACES = ("left/127.0.0.1", "right/127.0.0.2", "left/::1", "right/::1")

# What counts calls, time or packets, or is this relay's own.
FIGURES = re.compile(r"created|last|packets|bytes|errors|duration|uptime|delay|count|SSRC$|totals")


def tagged_ports(lines):
    """Ports of the relay become P, and P+1 for the one above the media line's; tags after the first suite's are numbers T."""
    port, suites, is_ipv6 = None, 0, False
    for line in lines:
        is_ipv6 = line.startswith("c=IN IP6") if line.startswith("c=") else is_ipv6
        media = re.match(r"m=(\S+) (\d+) (.*)", line)
        if media:
            port, suites = int(media[2]), 0
            line = line if port in (0, 9) else f"m={media[1]} P {media[3]}"
        elif port and line.startswith(("a=rtcp:", "a=candidate:")):
            # Ports of the other family may be of the same number by chance.
            elsewhere = line.startswith("a=candidate:") and (":" in line.split(" ")[4]) != is_ipv6
            line = re.sub(r"(?<=[: ])(\d{4,5})(?= |$)", lambda found: _relative(int(found[1]), 0 if elsewhere else port), line)
        elif line.startswith("a=crypto:"):
            line, suites = re.sub(r":\d+ ", ":T ", line) if suites else line, suites + 1
        yield line


def _relative(found, port):
    """Of another address family a line has other ports: Q, and Q+1 for the odd one above."""
    elsewhere = ("Q+1" if found % 2 else "Q") if found >= 30000 else str(found)
    return {0: "P", 1: "P+1"}.get(found - port, elsewhere)


def normalised_sdp(text):
    ends = "CRLF" if "\r\n" in text else "LF"
    lines = tagged_ports(text.replace("\r\n", "\n").rstrip("\n").split("\n"))
    replaced = [
        (r"inline:([A-Za-z0-9+/]+)(=*)", lambda found: f"inline:KEY{len(found[1])}{found[2]}"),
        (r"^a=ice-ufrag:(\S+)", lambda found: f"a=ice-ufrag:U{len(found[1])}"),
        (r"^a=ice-pwd:(\S+)", lambda found: f"a=ice-pwd:W{len(found[1])}"),
        (r"^a=candidate:[A-Za-z0-9]{16} ", lambda _: "a=candidate:F16 "),
        (r"^a=fingerprint:(\S+) [0-9A-F:]+", lambda found: f"a=fingerprint:{found[1]} DIGEST"),
        (r"^a=tls-id:.*", lambda _: "a=tls-id:ID"),
        (r"^s=rtpengine\S*", lambda _: "s=SOFTWARE"),
        (r"^o=(\S+) (?!1545997027)\d+ \d+", lambda found: f"o={found[1]} ID VERSION"),
        (r"^o=(\S+) (\d+) \d{10,}", lambda found: f"o={found[1]} {found[2]} VERSION"),
        (r"^a=rtpengine:\w+", lambda _: "a=rtpengine:INSTANCE"),
    ]
    out = []
    for line in lines:
        for pattern, by in replaced:
            line = re.sub(pattern, by, line)
        out.append(line)
    return [f"line ends: {ends}", *out]


def normalised(reply, key=""):
    if isinstance(reply, dict):
        return {name: normalised(value, name) for name, value in sorted(reply.items())}
    if isinstance(reply, list):
        return [normalised(value, key) for value in reply]
    if key == "sdp":
        return normalised_sdp(reply)
    if FIGURES.search(key) or key in ("warning",):
        return type(reply).__name__
    if key == "local port":
        return "P"
    if isinstance(reply, str) and re.fullmatch(r"[0-9a-f]{16,}", reply):
        return "TAG"
    return reply


def flattened(value, path=""):
    """Each leaf with its path; an SDP with one path for each line."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flattened(item, f"{path}/{name}")
        if not value:
            yield path, "empty"
    elif isinstance(value, list):
        for item in value:
            yield from flattened(item, f"{path}[]")
        if not value:
            yield path, "empty"
    else:
        yield path, value


def asked(relay, name, salt):
    """The replies to a sequence, under call identifiers of its own."""
    client, replies = relay.client(), []
    try:
        for command, options in SEQUENCES[name]:
            options = dict(options)
            if options.get("call_id") == "c":
                options["call_id"] = f"c-{salt}"
            reply = client.ask(command, **options)
            replies.append(own_calls(reply, salt))
    finally:
        client.close()
    return replies


def own_calls(reply, salt):
    """Of the calls that the relay lists, ours, by the name that the sequence gave it."""
    if "calls" in reply:
        reply["calls"] = ["c" for call in reply["calls"] if call == f"c-{salt}"]
    return reply


def compared(theirs, ours):
    """What differs, as lines of a diff by step."""
    found = []
    for step, (one, other) in enumerate(zip(theirs, ours)):
        left = [f"{path}: {value}" for path, value in flattened(normalised(one))]
        right = [f"{path}: {value}" for path, value in flattened(normalised(other))]
        if left == right:
            continue
        missing = [line for line in left if line not in right]
        added = [line for line in right if line not in left]
        found += [f"{step} - {line}" for line in missing] + [f"{step} + {line}" for line in added]
        if not missing and not added:
            found.append(f"{step} ~ order")
    return found


class Differential(unittest.TestCase):
    judged = set()

    @classmethod
    def setUpClass(cls):
        cls.theirs = Relay.rtpengine(interfaces=INTERFACES)
        cls.ours = Relay.crosspoint(interfaces=INTERFACES)

    @classmethod
    def tearDownClass(cls):
        for relay in (cls.theirs, cls.ours):
            relay.__exit__()

    def test_there_are_as_many_sequences_as_promised(self):
        self.assertGreaterEqual(len(SEQUENCES), 150)

    def test_unneeded_rows_are_not_listed(self):
        """Runs last, by its name."""
        if self.judged != set(SEQUENCES):
            self.skipTest("not all sequences were run")
        self.assertEqual([(row.sequences, row.lines) for row in DIFFERENCES.stale()], [])


def _test_of(number, name):
    def test(self):
        theirs = asked(self.theirs, name, f"t{number}")
        ours = asked(self.ours, name, f"o{number}")
        found = compared(theirs, ours)
        Differential.judged.add(name)
        unexplained = DIFFERENCES.unexplained(name, found)
        if unexplained:
            self.fail(f"{name}\n" + "\n".join(unexplained))

    test.__doc__ = name
    return test


for _number, _name in enumerate(SEQUENCES):
    setattr(Differential, f"test_{_number:03}_{re.sub(r'[^a-zA-Z0-9]+', '_', _name)}", _test_of(_number, _name))


def show(name):
    with Relay.rtpengine(interfaces=INTERFACES) as theirs, Relay.crosspoint(interfaces=INTERFACES) as ours:
        pairs = zip(SEQUENCES[name], asked(theirs, name, "t"), asked(ours, name, "o"))
        for (command, options), one, other in pairs:
            print(f"== {command} {({key: value for key, value in options.items() if key != 'sdp'})}")
            for who, reply in (("rtpengine", one), ("crosspoint", other)):
                print(f"-- {who}: {({key: value for key, value in reply.items() if key != 'sdp'})}")
                print(reply.get("sdp", ""))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--show":
        show(sys.argv[2])
    else:
        unittest.main(verbosity=1)
