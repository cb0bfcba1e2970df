"""Publishes as Celery's users do, with `apply_async`.

publish.py                       reads lines of JSON, publishes each and prints the task's id:
                                 {"task": …, "args": […], "kwargs": {…}} and any option of `apply_async`;
                                 `link`, `link_error` and the elements of `chain` and `chord` are such objects too
publish.py measure COUNT HOW     publishes a task so many times and prints a line of JSON; HOW is
                                 `default`, `producer` (one held) or `batch` (Celery 5.7)
    [--task NAME] [--queue NAME] [--args JSON]
"""

import argparse
import json
import sys
import time
from datetime import datetime

from celery import chain, chord
from kombu.utils.json import loads

from fleet import app


def signature(line):
    if "chain" in line:
        return chain(*map(signature, line["chain"]), app=app)
    if "chord" in line:
        return chord([signature(each) for each in line["chord"]], signature(line["body"]), app=app)
    return app.signature(line["task"], args=line.get("args", []), kwargs=line.get("kwargs", {})).set(**options(line))


def options(line):
    """What remains is for `apply_async`."""
    taken = {"task", "args", "kwargs", "chain", "chord", "body"}
    options = {name: value for name, value in line.items() if name not in taken}
    for name in ("eta", "expires"):
        if isinstance(options.get(name), str):
            options[name] = datetime.fromisoformat(options[name].replace("Z", "+00:00"))
    for name in ("link", "link_error"):
        if name in options:
            options[name] = signature(options[name])
    return options


def publish(line):
    if "chain" in line or "chord" in line:
        return signature(line).apply_async(**options(line))
    args, kwargs = line.get("args", []), line.get("kwargs", {})
    if line["task"] in app.tasks:
        return app.tasks[line["task"]].apply_async(args, kwargs, **options(line))
    return app.send_task(line["task"], args, kwargs, **options(line))  # somebody else's


def publish_lines():
    for text in sys.stdin:
        # With kombu's tagged values: dates, UUIDs, decimals.
        print(publish(loads(text)).id)


def measure(arguments):
    task = app.signature(arguments.task, app=app)
    options = {"queue": arguments.queue} if arguments.queue else {}
    args = json.loads(arguments.args)

    def publish(**more):
        for _ in range(arguments.count):
            task.apply_async(args, **options, **more)

    publish_one = task.apply_async(args, **options)  # connects, and declares the queue
    began, cpu = time.perf_counter(), time.process_time()
    if arguments.how == "default":
        publish()
    else:
        with app.producer_pool.acquire(block=True) as producer:
            if arguments.how == "producer":
                publish(producer=producer)
            else:
                with producer.batch():
                    publish(producer=producer)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({
        "tasks": arguments.count,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "per_second": arguments.count / seconds,
        "first_id": publish_one.id,
    }))


if len(sys.argv) == 1:
    publish_lines()
else:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("measure", choices=["measure"])
    parser.add_argument("count", type=int)
    parser.add_argument("how", choices=["default", "producer", "batch"])
    parser.add_argument("--task", default="fleet.nothing")
    parser.add_argument("--queue")
    parser.add_argument("--args", default="[]")
    measure(parser.parse_args())
