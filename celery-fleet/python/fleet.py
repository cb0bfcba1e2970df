"""The application of the workers and publishers: Celery as its users have it, and tasks that tell what they saw.

The environment configures it:

FLEET_CONFIGURATION  Celery's configuration, a JSON object
FLEET_TASKS          names of further tasks, a JSON list; each does what `fleet.record` does
FLEET_RECORDS        the file that every execution adds a line of JSON to
FLEET_READY          the file that a worker makes when it is ready
"""

import json
import os
import time

from celery import Celery
from celery.signals import worker_ready

app = Celery("fleet")
app.conf.update(json.loads(os.environ.get("FLEET_CONFIGURATION", "{}")))


@worker_ready.connect
def say_that_it_is_ready(**_):
    if "FLEET_READY" in os.environ:
        open(os.environ["FLEET_READY"], "w").close()


class Records:
    """One write per line, to the end of the file: processes and threads do not mix theirs."""

    def __init__(self):
        self.file = None

    def add(self, task, args, kwargs, ended=False):
        if "FLEET_RECORDS" not in os.environ:
            return
        if self.file is None:
            self.file = os.open(os.environ["FLEET_RECORDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        request = task.request
        delivery = request.delivery_info or {}
        line = {
            "name": task.name,
            "id": request.id,
            "args": args,
            "kwargs": kwargs,
            "retries": request.retries,
            "eta": request.eta,
            "expires": request.expires,
            "priority": delivery.get("priority"),
            "redelivered": bool(delivery.get("redelivered")),
            "queue": delivery.get("routing_key"),
            "headers": request.headers,
            "correlation_id": request.correlation_id,
            "root_id": request.root_id,
            "parent_id": request.parent_id,
            "node": request.hostname,
            "pid": os.getpid(),
            "at": time.time(),
            "ended": ended,
        }
        os.write(self.file, as_json(line) + b"\n")


def as_json(line):
    try:
        return json.dumps(line, default=str, allow_nan=False).encode()
    except ValueError:  # NaN is Python's own; so the reader sees what Python calls it
        return json.dumps({**line, "args": repr(line["args"]), "kwargs": repr(line["kwargs"])}, default=str).encode()


records = Records()


def record(self, *args, **kwargs):
    """Any arguments; those of an event are `payload, event_id`."""
    records.add(self, args, kwargs)


app.task(bind=True, name="fleet.record")(record)
for name in json.loads(os.environ.get("FLEET_TASKS", "[]")):
    app.task(bind=True, name=name)(record)


@app.task(bind=True, name="fleet.echo")
def echo(self, *args, **kwargs):
    records.add(self, args, kwargs)
    return {"args": args, "kwargs": kwargs}


@app.task(bind=True, name="fleet.fails")
def fails(self, *args, **kwargs):
    records.add(self, args, kwargs)
    raise ValueError("this task always fails")


@app.task(bind=True, name="fleet.fails_then_succeeds", max_retries=None)
def fails_then_succeeds(self, times, countdown=0, *args, **kwargs):
    """Retries so many times, each after `countdown` seconds."""
    records.add(self, (times, countdown, *args), kwargs)
    if self.request.retries < times:
        raise self.retry(countdown=countdown, exc=ValueError("not yet"))


@app.task(bind=True, name="fleet.hands_on", max_retries=None)
def hands_on(self, *args, **kwargs):
    """Retries at once, again and again, until another worker of the queue takes it."""
    records.add(self, args, kwargs)
    raise self.retry(countdown=0)


@app.task(bind=True, name="fleet.slow")
def slow(self, seconds, *args, **kwargs):
    """Two records: when it begins and when it has ended."""
    records.add(self, (seconds, *args), kwargs)
    time.sleep(seconds)
    records.add(self, (seconds, *args), kwargs, ended=True)


@app.task(name="fleet.nothing")
def nothing(*args, **kwargs):
    """For measurements."""
