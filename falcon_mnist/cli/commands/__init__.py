"""What each command takes and says: its options and its `--help`. The work is done by cli's other modules.

May import: cli's other modules, settings, logs. Those that compute, only when a command runs: `--help` answers at once.
"""
