"""A health check that needs neither curl nor a token: `python ready.py [PORT]`, 8000 by default.

It ends with status 0 if the server at that port of loopback can serve requests, else with 1.
"""

import sys
from http.client import HTTPConnection, HTTPException


def ready(port: int) -> bool:
    """Whether `/readyz` says so within four seconds."""
    connection = HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


sys.exit(0 if ready(int(sys.argv[1]) if len(sys.argv) > 1 else 8000) else 1)
