"""What outlives the process: rows (`database`, `tables`, `migrations`, `store`) and files (`files`, `parameter_files`).

`store` has the verbs of `reading`, `making`, `claims` and `results`, which stand on `rows`. `sqlite` and `postgresql`
(with its `postgresql_pool`) alone know their dialects, `LocalFolder` alone knows folders, `object_store` alone buckets,
of whose files `cache` keeps copies; `opening` chooses them by the settings, `moving` copies rows from one to another.
Imports training, kernels, and the modules at the top; no HTTP, and nothing of api, runs or server.
"""
