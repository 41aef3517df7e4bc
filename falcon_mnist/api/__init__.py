"""One HTTP request from bytes to answer.

`app` puts routes, middleware and error handlers together from the table in `operations`; `auth` decides who may
pass; `request` and `json_body` read, `schemas` and `validation` judge, `resources` ask the service and answer,
`json_answer` encodes; `turns` bounds what large requests do at the same time; `errors` is the one table of problems;
`openapi` describes it all, with `responses`, `inference_responses` and `service_responses`; `at_once` answers small
inferences without Falcon, and `answered` keeps count of every answer.

May import `inference`, `storage`, `runs` (to notify it of new runs), `training` (data, not its loop), `settings` and
`constants`. Must not import `server`, `cli` or `client`, and holds no SQL and no file formats.
"""
