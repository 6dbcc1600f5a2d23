"""Whether rows and bytes agree: what a store has without a row, and what rows miss in it.

`walking` compares and changes nothing, `mending` removes what has no owner and fails what has no
bytes, `rounds` lets the portal look at itself in small slices.
"""
