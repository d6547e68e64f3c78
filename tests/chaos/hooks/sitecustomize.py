"""Runs at the start of every Python process that a test changes; see `tests.chaos.hook`.

Python imports a module of this name by itself; the folder is put on PYTHONPATH.
"""

from tests.chaos import hook

hook.from_environment()
