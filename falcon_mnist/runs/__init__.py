"""The life of a run, from queued to its end.

`queue` decides what to start and what was lost, a `backend` starts workers somewhere and tells how they ended
(`pool`: in processes of this machine), `executor` runs both beside a server; `worker` and `attempt` run one run to
completion, `checkpoints` hold where it stands, `leases` tell which runs have lost their worker.

May import `storage`, `training`, `data`, `kernels` and the modules at the top. Must not import `api`, `server`
or `cli`: it knows no HTTP.
"""
