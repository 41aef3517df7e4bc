"""The command `falcon-mnist`."""
