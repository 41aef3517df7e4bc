"""Paths that operations and resources share: those of `Location` headers, and the one that is answered at once."""

from __future__ import annotations

RUN = "/api/runs/{run_id}"
PARAMETERS = "/api/params/{param_id}"
INFER = "/api/infer"
