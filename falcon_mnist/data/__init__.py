"""Data sets: IDX files, the download of MNIST, and digits drawn by the program itself.

May import the modules at the top (`settings`, `constants`). Must not import another package of ours, nor what speaks to
clients or to the database: no HTTP framework, no SQL.
"""
