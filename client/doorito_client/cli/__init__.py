"""The commands: of `doorito-client`, and most of them of the portal's own `./doorito`.

Standard output carries results only; what is said about them goes to standard error.
"""
