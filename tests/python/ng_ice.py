"""An ICE-lite party: it answers checks at its candidates and sends none (RFC 8445 §2.5), so that the relay has to.

    relay ── Binding request ──▶ LiteParty ── Binding success ──▶ relay         STUN is aioice's; nothing here is ours
"""

import os
import select
import socket
import time

from aioice import stun
from ng_parties import Party


class LiteParty(Party):
    """A party whose answers prove that it knows its password. Its media goes where the last nominated check came from."""

    def __init__(self, *arguments, candidate_hosts=None, mux=True, **more):
        super().__init__(*arguments, mux=mux, **more)
        self.ufrag = self.pwd = None
        self.restart()
        self.places = [self.rtp_socket] if candidate_hosts is None else []
        for host in candidate_hosts or ():
            self.places.append(self.rtp_socket if host == self.host else _bound(host))
        # What it does wrong, for tests: any of "mute", "password", "transaction".
        self.fault = None
        # Where checks came to, with their USERNAME, and where each came from.
        self.checks, self.nominated, self.named = [], None, True

    def restart(self):
        self.ufrag, self.pwd = os.urandom(4).hex(), os.urandom(16).hex()

    def close(self):
        super().close()
        for place in self.places:
            place.close()

    def candidates(self):
        return [
            f"a=candidate:{at} 1 UDP {2130706431 - at * 256} {place.getsockname()[0]} {place.getsockname()[1]} typ host"
            for at, place in enumerate(self.places)
        ]

    def describe(self, direction="sendrecv", more=(), **where):
        lines = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.pwd}", *(self.candidates() if self.named else ["a=ice-options:trickle"])]
        text = super().describe(direction, more=[*lines, *more], **where)
        return text.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n")

    def fragment(self):
        """Its candidates alone, as RFC 8840 trickles them."""
        lines = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.pwd}", "m=audio 9 RTP/AVP 0", *self.candidates()]
        return "\r\n".join([*lines, "a=end-of-candidates"]) + "\r\n"

    def _send_rtp(self, datagram):
        if self.nominated:
            place, source = self.nominated
            place.sendto(datagram, source)

    def _datagram(self, patience_s):
        """The next one that is no check; checks are answered."""
        sockets = list(dict.fromkeys([self.rtp_socket, self.rtcp_socket, *self.places]))
        deadline = time.monotonic() + patience_s
        while True:
            ready, _, _ = select.select(sockets, [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            datagram, source = ready[0].recvfrom(65536)
            if datagram and datagram[0] < 4:
                self._answer(ready[0], datagram, source)
                continue
            return datagram, source, ready[0] is self.rtcp_socket

    def _answer(self, place, datagram, source):
        message = stun.parse_message(datagram)
        if message.message_class != stun.Class.REQUEST:
            return
        theirs, _ = message.attributes["USERNAME"].split(":")
        if theirs != self.ufrag or not message.check_message_integrity(self.pwd.encode()):
            return
        self.checks.append((place, message.attributes))
        if self.fault == "mute":
            return
        transaction = os.urandom(12) if self.fault == "transaction" else message.transaction_id
        answer = stun.Message(message.message_method, stun.Class.RESPONSE, transaction_id=transaction)
        answer.attributes["XOR-MAPPED-ADDRESS"] = source[:2]
        answer.add_message_integrity(b"something else" if self.fault == "password" else self.pwd.encode())
        place.sendto(bytes(answer), source)
        if "USE-CANDIDATE" in message.attributes:
            self.nominated = (place, source)

    def serve(self, until, patience_s=5.0):
        """Answers checks until something is so."""
        deadline = time.monotonic() + patience_s
        while not until():
            if time.monotonic() > deadline:
                return False
            self._datagram(0.05)
        return True


def _bound(host):
    place = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    place.bind((host, 0))
    return place
