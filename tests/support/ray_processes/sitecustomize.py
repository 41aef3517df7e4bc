"""What Python imports first in each process of the tests' Ray: a third of the time of its start goes to modules that
nothing calls there. Those that Ray and Peewee can do without are missing, as where they are not installed; two that Ray
imports in any case, for its dashboard and its commands, are empty. A run on Ray with PostgreSQL would need psycopg.
"""

import sys
from types import ModuleType

# Without gRPC Ray does not start its server for Ray Client either. Peewee imports each driver that is there.
missing = ["grpc", "opentelemetry", "psycopg", "tqdm", "wcwidth"]
if any(argument.endswith("/dashboard/agent.py") for argument in sys.orig_argv):  # it tries all that a dashboard needs
    missing += ["aiohttp", "pydantic", "ray.util.state"]
for name in missing:
    sys.modules[name] = None  # type: ignore[assignment]
for name in ("jsonschema", "requests"):
    sys.modules[name] = ModuleType(name)
