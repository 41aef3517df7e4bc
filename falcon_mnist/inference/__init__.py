"""Loaded parameter sets and their forward passes."""
