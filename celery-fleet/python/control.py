"""Remote control, as `celery inspect` and `celery control` do it.

control.py METHOD [ARGUMENTS] [--timeout SECONDS] [--destination NODE]…

METHOD is one of `app.control.inspect()` (ping, stats, active, registered, reserved, scheduled, active_queues,
conf, revoked, …) or any other control command (rate_limit, add_consumer, revoke, enable_events, shutdown, …), and
ARGUMENTS a JSON object. Prints a JSON object of replies by node; it is empty if nobody replies in time.
"""

import argparse
import json

from fleet import app

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("method")
parser.add_argument("arguments", nargs="?", default="{}")
parser.add_argument("--timeout", type=float, default=2.0)
parser.add_argument("--destination", action="append")
called = parser.parse_args()
arguments = json.loads(called.arguments)

inspect = app.control.inspect(timeout=called.timeout, destination=called.destination)
asks = getattr(inspect, called.method, None)
if asks:
    replies = asks(**arguments) or {}
else:
    answers = app.control.broadcast(
        called.method,
        arguments=arguments,
        destination=called.destination,
        reply=called.method != "shutdown",  # which nobody answers
        timeout=called.timeout,
    )
    replies = {node: reply for answer in answers or [] for node, reply in answer.items()}
print(json.dumps(replies, default=str))
