"""Backup and restore of a portal: its rows, its stored files and its secret key, as one folder.

`folder` is what a backup looks like, `taking` makes one of a running portal, `restoring` makes a
portal of one. PostgreSQL's own programs dump and restore the rows (`postgres`).
"""
