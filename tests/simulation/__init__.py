"""Several servers and workers in one process, on simulated time, with faults drawn from one seed.

The queue, the attempts, the leases, the store and the folders of files are the real ones. Time, the disk, processes and
the arithmetic of training are stand-ins. After each event the promises are checked (`promises`). `python -m
tests.long simulation` plays many seeds, or repeats one.
"""
