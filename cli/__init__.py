"""The `honeyflow` command and what it starts."""
