"""What Python imports first in each process of the tests' Ray: a third of the time of its start goes to modules that
nothing calls there. What can be missing is missing, and the rest is empty.
"""

import sys
from types import ModuleType

# Without gRPC Ray does not start its server for Ray Client either. Peewee imports each driver that is there.
for name in ("grpc", "opentelemetry", "psycopg", "tqdm", "wcwidth"):
    sys.modules[name] = None  # type: ignore[assignment]
for name in ("jsonschema", "requests"):
    sys.modules[name] = ModuleType(name)
