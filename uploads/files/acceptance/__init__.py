"""What a file must pass before it is stored: an ordered list of checks, which apps can add to.

Nothing is stored that has not passed all of them (`uploads.files.states` takes no other). A check
that cannot judge at the moment raises ServiceUnavailable, and the file waits: it is never let
through for that.
"""
