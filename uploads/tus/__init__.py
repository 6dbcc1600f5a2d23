"""tus 1.0.0 at /api/tus/: the core protocol and all of its extensions.

https://tus.io/protocols/resumable-upload, whose terms are used here.
"""
