"""Loaded parameter sets and their forward passes.

May import `storage` (to load a set), `training.network` and `kernels`. Must not import `api`: it knows no HTTP and
no JSON.
"""
