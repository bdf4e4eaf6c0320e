"""Sends what the outbox holds, signed as Standard Webhooks: one thread that looks, a few that send."""

import base64
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from kinema.errors import KinemaError
from kinema.serve.jobs import Clock
from kinema.serve.outbox import Message, claim_due, prune, settle
from kinema.serve.outward import Outward
from kinema.serve.store import Store

logger = logging.getLogger(__name__)

LOOK_S = 0.5
PRUNE_S = 3600.0
NUM_SENDERS = 8


def sign(secrets: Sequence[str], message_id: str, at: float, body: str) -> dict[str, str]:
    """The headers of a message: its name, its time, and one HMAC-SHA256 for each secret (`whsec_` and base64)."""
    signed = f"{message_id}.{int(at)}.{body}".encode()
    marks = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        marks.append("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())
    return {
        "content-type": "application/json",
        "user-agent": "Kinema-Webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(marks),
    }


def post(outward: Outward, url: str, secrets: Sequence[str], message_id: str, body: str, at: float) -> int:
    """Send one message; returns the status of the answer. Raises KinemaError when there is none."""
    return outward.request("POST", url, body.encode(), sign(secrets, message_id, at, body), read=False).status


class Sender:
    """Empties the outbox of a store until it is stopped; several may share one store."""

    def __init__(self, store: Store, outward: Outward, keep_s: float, clock: Clock = time.time) -> None:
        self._store, self._outward, self._keep_s, self._clock = store, outward, keep_s, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, once what is being sent has been."""
        self._stop.set()
        self._thread.join()

    def send_due(self, pool: ThreadPoolExecutor) -> int:
        """Send what is due, and return how many messages that were."""
        messages = claim_due(self._store, self._clock(), NUM_SENDERS)
        for _ in pool.map(self._send, messages):
            pass
        return len(messages)

    def _run(self) -> None:
        pruned_at = -PRUNE_S
        with ThreadPoolExecutor(NUM_SENDERS, "webhook") as pool:
            while not self._stop.is_set():
                try:
                    if time.monotonic() - pruned_at > PRUNE_S:
                        prune(self._store, self._clock() - self._keep_s)
                        pruned_at = time.monotonic()
                    if not self.send_due(pool):
                        self._stop.wait(LOOK_S)
                except sa.exc.DBAPIError as error:
                    logger.warning("the store is away (%s); webhooks wait", error.orig)
                    self._stop.wait(2.0)
                except Exception:
                    logger.exception("sending webhooks failed by a bug; going on")
                    self._stop.wait(2.0)

    def _send(self, message: Message) -> None:
        status, error = None, None
        try:
            status = post(self._outward, message.url, message.secrets, message.id, message.body, self._clock())
        except KinemaError as refused:
            error = str(refused)
        if error is not None or status is None or not 200 <= status < 300:
            logger.info("webhook %s, try %d: %s", message.id, message.attempt, error or status)
        settle(self._store, message, status, error, self._clock())
