"""The commands about announcing: ``doorito webhook``, ``events`` and ``listen``.

Standard output carries results only; what is said about them goes to standard error.
"""
