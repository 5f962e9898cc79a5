"""Follows the log's chain with nothing of the gateway's own code.

Argument, if any: how many events there must be. Each hash must be the BLAKE3 of the hash before it and of the event's
canonical CBOR; the chain begins with 32 zero bytes. The events come as a CBOR sequence from the admin REST.
"""

import io
import sys

import blake3
import cbor2

from common import admin

FIELDS = ("kind", "actor", "tenant", "package", "payload", "producer", "sequence", "request_id", "occurred_at")
PAGE = 1000


def page(since):
    encoded = admin("GET", f"/v1/events?since={since}&limit={PAGE}", accept="application/cbor-seq")
    stream = io.BytesIO(encoded)
    while stream.tell() < len(encoded):
        yield cbor2.load(stream)


def follow(wanted):
    previous, last, at = bytes(32), 0, 0
    while events := list(page(last)):
        for event in events:
            assert event["sequence"] == last + 1, f"{event['sequence']} follows {last}"
            assert event["occurred_at"] >= at, f"event {event['sequence']} goes back in time"
            assert isinstance(event["payload"], bytes)
            payload = cbor2.loads(event["payload"])
            assert cbor2.dumps(payload, canonical=True) == event["payload"], f"event {event['sequence']} is not canonical"
            body = cbor2.dumps({field: event[field] for field in FIELDS}, canonical=True)
            previous = blake3.blake3(previous + body).digest()
            told = event["hash"] if isinstance(event["hash"], bytes) else bytes.fromhex(event["hash"])
            assert told == previous, f"the chain breaks at event {event['sequence']}"
            last, at = event["sequence"], event["occurred_at"]
    assert wanted is None or last == wanted, f"{last} events, not {wanted}"
    print(f"{last} events, chained to {previous.hex()}")


follow(int(sys.argv[1]) if len(sys.argv) > 1 else None)
