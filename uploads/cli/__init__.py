"""The commands about workflows: ``doorito workflow`` and ``doorito run``.

They are for administrators of the machine, and act for the owner of the file unless told
otherwise. Standard output carries results only; what is said about them goes to standard error.
"""
