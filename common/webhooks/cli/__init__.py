"""The commands ``doorito webhook``, ``events`` and ``listen``.

Results go to standard output, messages to standard error.
"""
