"""The command `falcon-mnist`: `commands` says what each takes, `main` runs them, `console` shows; the rest works.

May import everything of ours; nothing imports it.
"""
