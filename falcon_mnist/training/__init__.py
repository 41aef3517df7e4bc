"""Architecture and hyperparameters as data, networks, and the loop that trains them.

May import `kernels`, `data` and the modules at the top. Must not import another package of ours, and knows no HTTP, no
SQL and no JSON decoder.
"""
