"""Waits for the result of a task, as callers in Python do.

result.py ID [MODULE CLASS]

MODULE and CLASS are an exception that the caller has, and imported before it asks. Prints a JSON object: `returned`,
what `get` returned, or `raised`, the name with its module of the exception that it raised, and its `text`.
"""

import json
import sys
import types

from fleet import app

task, *exception = sys.argv[1:]
if exception:
    module, name = exception
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], name, type(name, (Exception,), {"__module__": module}))

try:
    ended = {"returned": app.AsyncResult(task).get(timeout=60)}
except Exception as error:
    ended = {"raised": f"{type(error).__module__}.{type(error).__qualname__}", "text": str(error)}
print(json.dumps(ended))
