"""The command `falcon-mnist`: one module for each command, `main` parses and calls, `console` shows.

May import everything of ours; nothing imports it.
"""
