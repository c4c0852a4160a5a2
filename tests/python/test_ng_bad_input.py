"""Bad, broken and repeated messages at each door of the ng relay: none ends it, none makes it grow, each is answered as rtpengine does.

    UDP, TCP, HTTP, WebSocket ─ ng ─ relay
    (127.0.0.1; another sender is 127.0.0.9)
"""

import http.client
import itertools
import json
import os
import random
import socket
import unittest

from ng_client import RELAY, Relay, decode, encode, free_port
from websockets.sync.client import connect

FORMAT = "Invalid NG data format"
DICTIONARY = "Could not decode bencode dictionary"
NO_COMMAND = 'Dictionary contains no key "command"'
UNKNOWN = "Unrecognized command"
JSON_TEXT = "Failed to parse JSON document"
NO_SDP = "No SDP body in message"
PORTS = (47000, 47199)
OURS = RELAY == "crosspoint"
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
MEDIA = "m=audio 2000 RTP/AVP 0\r\n"

# What is said after the cookie, and what may be the reason of the error; `pong` where it is read as a ping all the same.
REFUSED = {
    "nothing": (b"", ["Invalid data (no payload)"]),
    "a letter": (b"x", [FORMAT]),
    "a dictionary that only begins": (b"d", [NO_COMMAND, DICTIONARY]),
    "a dictionary that does not end": (b"d7:command4:ping", ["pong", DICTIONARY]),
    "a dictionary with more behind it": (b"d7:command4:pingejunk", ["pong", DICTIONARY]),
    "a string that does not end": (b"d7:command40:pinge", [DICTIONARY]),
    "a key without a value": (b"d7:commande", [DICTIONARY, NO_COMMAND]),
    "an empty dictionary": (b"de", [NO_COMMAND]),
    "no command": (b"d3:fooi1ee", [NO_COMMAND]),
    "a number as command": (b"d7:commandi5ee", [NO_COMMAND]),
    "an empty command": (b"d7:command0:e", [UNKNOWN]),
    "an unknown command": (b"d7:command6:jugglee", [UNKNOWN]),
    "a command with a zero byte": (b"d7:command5:ping\0e", [UNKNOWN]),
    "a list": (b"le", [FORMAT]),
    "a number": (b"i5e", [FORMAT]),
    "a length of 2^63": (b"d9223372036854775808:xe", [DICTIONARY]),
    "a length of 2^64": (b"d18446744073709551616:xe", [DICTIONARY]),
    "a value with a length of 2^63": (b"d7:command9223372036854775808:pinge", [DICTIONARY]),
    "a negative length": (b"d-1:xe", [DICTIONARY]),
    "a negative length of a value": (b"d7:command-4:pinge", [DICTIONARY]),
    "a length without digits": (b"d:xe", [DICTIONARY]),
    "a number beyond 64 bits": (b"d7:command4:ping1:xi99999999999999999999999ee", ["pong", DICTIONARY]),
    "a number without digits": (b"d7:command4:ping1:xiee", ["pong", DICTIONARY]),
    "a number that does not end": (b"d7:command4:ping1:xi5", ["pong", DICTIONARY]),
    "20,000 open dictionaries": (b"d1:a" * 15000, [DICTIONARY]),
    "open lists in a dictionary": (b"d1:a" + b"l" * 60000, [DICTIONARY]),
    "deep and closed dictionaries": (b"d1:a" * 10000 + b"e" * 10000, [DICTIONARY, NO_COMMAND]),
    "deep and closed lists": (b"d7:command4:ping1:a" + b"l" * 30000 + b"e" * 30000 + b"e", ["pong", DICTIONARY]),
    "a key twice": (b"d7:command4:ping7:command6:jugglee", [DICTIONARY, UNKNOWN, "pong"]),
    "an open brace": (b"{", [JSON_TEXT]),
    "braces": (b"{}", [NO_COMMAND]),
    "JSON with more behind it": (b'{"command":"ping"} x', [JSON_TEXT]),
    "a JSON list": (b"[]", [FORMAT]),
    "a JSON string": (b'"ping"', [FORMAT]),
    "JSON with a number as command": (b'{"command":1}', [NO_COMMAND]),
    "JSON with null as command": (b'{"command":null}', [NO_COMMAND, DICTIONARY, "Could not decode JSON dictionary"]),
    "JSON with half a character": (b'{"command":"\\ud800"}', [UNKNOWN, JSON_TEXT]),
    "JSON that is not UTF-8": (b'{"command":"\xff\xfe"}', [UNKNOWN, JSON_TEXT]),
    "JSON of many open brackets": (b'{"command":' + b"[" * 50000, [JSON_TEXT]),
    "JSON of many closed brackets": (b'{"command":"ping","x":' + b"[" * 30000 + b"]" * 30000 + b"}", ["pong", JSON_TEXT]),
    "JSON with a number of 400 digits": (b'{"command":"ping","x":' + b"9" * 400 + b"}", ["pong", JSON_TEXT]),
    "a dictionary as SDP": (b'{"command":"offer","call-id":"x","from-tag":"f","sdp":{}}', [NO_SDP]),
    "a list as call-id": (encode({"command": "offer", "call-id": ["x"], "from-tag": "f", "sdp": SDP + MEDIA}), ["No call-id in message"]),
    "a dictionary as flags": (encode({"command": "query", "call-id": "nobody", "flags": {"a": {"b": ["c"]}}}), ["Unknown call-id"]),
    "a call-id of 60 kB": (encode({"command": "query", "call-id": "x" * 60000}), ["Unknown call-id", "No call-id in message"]),
}

# rtpengine 10.5.3.5 overruns its stack on these and ends; we have to answer.
END_RTPENGINE = {
    "open lists in a dictionary", "deep and closed lists", "JSON of many open brackets", "JSON of many closed brackets",
}


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tcp, cls.http = (free_port(socket.SOCK_STREAM) for _ in range(2))
        more = (f"--listen-tcp-ng=127.0.0.1:{cls.tcp}", f"--listen-http=127.0.0.1:{cls.http}")
        cls.relay = Relay.under_test(ports=PORTS, more=more)
        cls.addClassCleanup(cls.relay.__exit__)

    def setUp(self):
        self.client = self.relay.client()
        self.addCleanup(self.client.close)
        self.addCleanup(self.assert_well)
        self.cookies = (f"{self._testMethodName}-{number}".encode() for number in itertools.count())

    def assert_well(self):
        self.assertIsNone(self.relay.process.poll(), f"the relay ended:\n{self.relay.said()[-2000:]}")
        other = self.relay.client()
        self.assertEqual(other.ask("ping"), {"result": "pong"})
        self.assertEqual(other.ask("list")["calls"], [], "a call was left behind")
        other.close()

    def answer_to(self, body):
        cookie = next(self.cookies)
        reply = self.client.raw(cookie + b" " + body)
        self.assertTrue(reply.startswith(cookie + b" "), reply)
        reply = reply[len(cookie) + 1 :]
        return json.loads(reply) if reply[:1] == b"{" else decode(reply)[0]

    # ---- UDP ------------------------------------------------------------------------------------------------------------

    def test_what_cannot_be_read_is_refused_in_the_words_of_rtpengine(self):
        for name, (body, allowed) in REFUSED.items():
            if name in END_RTPENGINE and not OURS:
                continue
            with self.subTest(name):
                reply = self.answer_to(body)
                self.assertIn(reply["result"] if reply["result"] == "pong" else reply.get("error-reason"), allowed, reply)
                self.assertEqual(self.client.ask("ping"), {"result": "pong"})

    def test_datagram_without_a_cookie_is_dropped_in_silence(self):
        for datagram in (b"", b"cookie", b"d7:command4:pinge", b" d7:command4:pinge", b"x" * 60000, b"\0\0\0", b"{}", b"\n"):
            with self.subTest(datagram[:20]):
                self.client.socket.send(datagram)
                # The answer to a question behind it is the first that comes.
                self.assertEqual(self.client.ask("ping"), {"result": "pong"})

    def test_sdp_of_64_kilobytes_is_answered(self):
        for line in ("a=x:" + "y" * 61000 + "\r\n", "a=x\r\n" * 12000, "b=AS:1\r\n" * 7000, "a=crypto:1 X inline:Y\r\n" * 2700, "x" * 61000):
            with self.subTest(line[:12]):
                reply = self.client.ask("offer", call_id="large", from_tag="f", sdp=SDP + MEDIA + line)
                self.assertIn(reply["result"], ("ok", "error"))
                self.client.ask("delete", call_id="large", from_tag="f", delete_delay=0)

    def test_sdp_of_thousands_of_media_lines_takes_no_port_for_good(self):
        shortest = "m=audio 9 RTP/AVP 0\n"
        for count in (90, 3000):
            with self.subTest(count):
                reply = self.client.ask("offer", call_id="wide", from_tag="f", sdp=SDP + shortest * count)
                self.assertEqual(reply["result"], "error")
                self.assertEqual(self.client.ask("list")["calls"], [])
        # All ports of the range can still be had.
        for number in range(40):
            reply = self.client.ask("offer", call_id=f"after-{number}", from_tag="f", sdp=SDP + MEDIA)
            self.assertEqual(reply["result"], "ok", (number, reply))
        for number in range(40):
            self.client.ask("delete", call_id=f"after-{number}", from_tag="f", delete_delay=0)

    def test_sdp_of_nonsense_leaves_no_call(self):
        lines = [
            "", "\r\n", "v=0", "m=", "m=audio", "m=audio x RTP/AVP 0", "m=audio 65536 RTP/AVP 0", "m=audio -1 RTP/AVP 0",
            "m=audio 99999999999999999999 RTP/AVP 0", SDP, SDP + "m=audio 2000/99999 RTP/AVP 0\r\n", SDP + MEDIA + "c=IN IP9 x\r\n",
            SDP + MEDIA + "a=rtcp:99999\r\n", SDP + MEDIA + "a=candidate:\r\n", SDP + MEDIA + "a=crypto:\r\na=fingerprint:\r\na=setup:\r\n",
            SDP + MEDIA + "a=fingerprint:sha-256 " + "AA:" * 400 + "AA\r\n", SDP + "m=audio 2000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AA\r\n",
            SDP + MEDIA + "a=rtpmap:999 x/0\r\na=rtpmap:0 PCMU/0/0\r\na=ptime:0\r\n", "\0" * 1000, SDP.replace("127.0.0.1", "::ffff:1:2:3:4:5:6:7") + MEDIA,
        ]
        for sdp in lines:
            with self.subTest(sdp[-50:]):
                reply = self.client.ask("offer", call_id="odd", from_tag="f", sdp=sdp)
                self.assertIn(reply["result"], ("ok", "error"))
                self.client.ask("delete", call_id="odd", from_tag="f", delete_delay=0)

    def test_hundred_thousand_bad_messages_leave_the_memory_as_it_was(self):
        chance = random.Random(7)
        good = encode({"command": "offer", "call-id": "never", "from-tag": "f"})
        bodies = [body for body, _ in REFUSED.values() if len(body) < 2000]
        for _ in range(200):
            body = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            bodies.append(bytes(body[: chance.randrange(1, len(body) + 1)]))

        def flood(count):
            self.client.socket.settimeout(5)
            awaited = 0
            for number in range(count):
                # Few cookies, so that the memory of answers given, which may grow, is not what is measured.
                self.client.socket.send(b"flood-%d " % (number % 500) + bodies[number % 500 % len(bodies)])
                awaited += 1
                if awaited == 20:
                    for _ in range(awaited):
                        self.client.socket.recv(65536)
                    awaited = 0

        flood(20_000)
        before = self.relay.resident_bytes()
        flood(100_000)
        grown = self.relay.resident_bytes() - before
        print(f"figure: {grown / 1024:.0f} KiB more after 100,000 bad messages")
        self.assertLess(grown, 4 << 20)

    def test_bad_messages_with_ever_new_cookies_are_remembered_within_a_bound(self):
        if not OURS:
            self.skipTest("rtpengine keeps all answers for 30 to 60 seconds")

        def flood(first, count):
            for number in range(first, first + count, 20):
                for each in range(number, number + 20):
                    self.client.socket.send(b"new-%d d3:fooi1ee" % each)
                for _ in range(20):
                    self.client.socket.recv(65536)

        flood(0, 100_000)
        before = self.relay.resident_bytes()
        flood(100_000, 100_000)
        grown = self.relay.resident_bytes() - before
        print(f"figure: {grown / 1024:.0f} KiB more after another 100,000 cookies")
        self.assertLess(grown, 32 << 20)

    # ---- cookies --------------------------------------------------------------------------------------------------------

    def offer(self, call_id):
        return encode({"command": "offer", "call-id": call_id, "from-tag": "f", "sdp": SDP + MEDIA})

    def forget(self, *calls):
        for call in calls:
            self.client.ask("delete", call_id=call, from_tag="f", delete_delay=0)

    def test_repeated_cookie_gets_the_same_answer_and_has_no_second_effect(self):
        first = self.client.raw(b"repeated " + self.offer("once"))
        self.assertEqual(self.client.raw(b"repeated " + self.offer("once")), first)
        # Also with another question: the cookie is what counts.
        self.assertEqual(self.client.raw(b"repeated " + self.offer("twice")), first)
        self.assertEqual(self.client.ask("list")["calls"], ["once"])
        gone = self.client.raw(b"gone " + encode({"command": "delete", "call-id": "once", "from-tag": "f", "delete delay": 0}))
        self.assertIn(b"2:ok", gone)
        self.assertEqual(self.client.raw(b"repeated " + self.offer("once")), first)
        self.assertEqual(self.client.ask("list")["calls"], [], "a repetition brought a call back")

    def test_repetitions_that_come_at_once_get_the_same_answer(self):
        for _ in range(5):
            self.client.socket.send(b"at-once " + self.offer("at-once"))
        self.assertEqual(len({self.client.socket.recv(65536) for _ in range(5)}), 1)
        self.assertEqual(self.client.ask("list")["calls"], ["at-once"])
        self.forget("at-once")

    def test_cookie_of_another_sender_is_not_answered_from_memory(self):
        if not OURS:
            self.skipTest("rtpengine gives one sender's answers to another")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.9", 0))
            other.connect(("127.0.0.1", self.relay.ng_port))
            other.settimeout(5)
            first = self.client.raw(b"shared " + self.offer("of-one"))
            other.send(b"shared " + encode({"command": "ping"}))
            self.assertEqual(other.recv(65536), b"shared d6:result4:ponge")
            self.assertEqual(self.client.raw(b"shared " + self.offer("of-one")), first)
        self.forget("of-one")

    # ---- TCP ------------------------------------------------------------------------------------------------------------

    def tcp_connection(self):
        connection = socket.create_connection(("127.0.0.1", self.tcp), 5)
        self.addCleanup(connection.close)
        return connection

    def read(self, connection, wanted):
        got = b""
        while len(got) < len(wanted) and (more := connection.recv(65536)):
            got += more
        self.assertEqual(got, wanted)

    def test_message_in_pieces_over_tcp_is_answered_when_it_is_whole(self):
        connection = self.tcp_connection()
        message = b"pieces d7:command4:pinge"
        for at in range(len(message) - 1):
            connection.send(message[at : at + 1])
        connection.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        connection.send(message[-1:])
        self.read(connection, b"pieces d6:result4:ponge")

    def test_messages_in_one_piece_over_tcp_are_each_answered_in_order(self):
        connection = self.tcp_connection()
        connection.sendall(b"".join(b"row-%d d7:command4:pinge" % number for number in range(40)))
        self.read(connection, b"".join(b"row-%d d6:result4:ponge" % number for number in range(40)))

    def test_half_a_message_and_a_hang_up_over_tcp_does_no_harm(self):
        for half in (b"half", b"half ", b"half d", b"half d7:command4:pi", b"half " + self.offer("half")[:-5]):
            connection = self.tcp_connection()
            connection.sendall(half)
            connection.close()
            self.assert_well()

    def test_message_over_tcp_that_never_ends_is_cut_off(self):
        for body in (b"endless d7:command4:ping1:x99999999:", b"", b"endless d"):
            with self.subTest(body):
                connection = self.tcp_connection()
                try:
                    connection.sendall(body + b"x" * 100_000)
                    self.assertEqual(connection.recv(1), b"", "answered")
                except ConnectionError:
                    pass
                self.assert_well()

    def test_two_hundred_idle_connections_keep_nobody_out(self):
        idle = [self.tcp_connection() for _ in range(200)]
        connection = self.tcp_connection()
        connection.sendall(b"behind d7:command4:pinge")
        self.read(connection, b"behind d6:result4:ponge")
        for each in idle:
            each.close()

    # ---- HTTP and WebSocket ---------------------------------------------------------------------------------------------

    def posted(self, path, body=b"", kind="application/x-rtpengine-ng", method="POST"):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def test_post_of_the_right_type_is_answered(self):
        self.assertEqual(self.posted("/ng", b"http d7:command4:pinge"), (200, b"http d6:result4:ponge"))
        status, body = self.posted("/ng", b'http-json {"command":"ping"}')
        self.assertEqual((status, json.loads(body.removeprefix(b"http-json "))), (200, {"result": "pong"}))

    def test_post_of_json_without_a_cookie_is_answered(self):
        if not OURS:
            self.skipTest("not in 10.5")
        status, body = self.posted("/ng-plain", b'{"command":"ping"}', "application/json")
        self.assertEqual((status, json.loads(body)), (200, {"result": "pong"}))

    def test_post_of_the_wrong_type_is_not_found(self):
        for kind in ("text/plain", "application/json", "application/x-rtpengine", "multipart/form-data"):
            self.assertEqual(self.posted("/ng", b"http-wrong d7:command4:pinge", kind)[0], 404, kind)
        for path in ("/", "/n", "/ng/", "/../etc/passwd", "/" + "x" * 4000):
            self.assertIn(self.posted(path, b"http-nowhere d7:command4:pinge")[0], (400, 404, 414), path[:20])
        self.assertIn(self.posted("/ng", method="GET")[0], (404, 405))

    def test_post_of_nonsense_is_answered_with_an_error(self):
        for number, body in enumerate((b"", b"nonsense", b"d7:command4:pinge", b"\0" * 1000)):
            with self.subTest(body[:10]):
                status, answer = self.posted("/ng", body)
                self.assertTrue(status != 200 or b"error" in answer, (status, answer))

    def test_ten_thousand_media_lines_by_post_are_refused(self):
        sdp = SDP + "m=audio 9 RTP/AVP 0\n" * 10_000
        try:
            status, answer = self.posted("/ng", b"wide " + encode({"command": "offer", "call-id": "w", "from-tag": "f", "sdp": sdp}))
        except (ConnectionError, http.client.HTTPException):
            return
        self.assertTrue(status != 200 or b"5:error" in answer, (status, answer[:200]))

    def test_raw_nonsense_at_the_http_door_does_no_harm(self):
        for text in (b"\r\n\r\n", b"POST /ng HTTP/9.9\r\n\r\n", b"POST /ng HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                     b"POST /ng HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nx", b"\x16\x03\x01" + b"\0" * 200,
                     b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000 + b"\r\n"):
            with self.subTest(text[:30]), socket.create_connection(("127.0.0.1", self.http), 5) as connection:
                try:
                    connection.sendall(text)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except (ConnectionError, TimeoutError, OSError):
                    pass
                self.assert_well()

    def websocket(self):
        connection = connect(f"ws://127.0.0.1:{self.http}/", subprotocols=["ng.rtpengine.com"], open_timeout=5)
        self.addCleanup(connection.close)
        return connection

    def told(self, connection):
        got = connection.recv(timeout=5)
        return got.encode() if isinstance(got, str) else got

    def test_websocket_answers_whole_and_fragmented_messages(self):
        connection = self.websocket()
        connection.send(b"ws d7:command4:pinge")
        self.assertEqual(self.told(connection), b"ws d6:result4:ponge")
        connection.send([b"ws-2 d7:com", b"mand4:pin", b"ge"])
        self.assertEqual(self.told(connection), b"ws-2 d6:result4:ponge")

    def test_websocket_survives_nonsense(self):
        connection = self.websocket()
        for body, _ in list(REFUSED.values())[1:12]:
            connection.send(b"ws-" + os.urandom(4).hex().encode() + b" " + body)
            self.assertTrue(self.told(connection))
        connection.send(b"ws-last d7:command4:pinge")
        self.assertEqual(self.told(connection), b"ws-last d6:result4:ponge")


if __name__ == "__main__":
    unittest.main()
