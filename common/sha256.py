"""SHA-256 whose state can be saved, and continued by another process.

hashlib cannot save its state, so libcrypto's functions work on a plain `SHA256_CTX`
(<openssl/sha.h>: eight words of state, a 64-bit count, a 64-byte block, two more words). The state
has the byte order of the machine, so it can be used on this machine only.
"""

import _hashlib
import ctypes
import ctypes.util
from collections.abc import Buffer
from typing import Self

_CTX_BYTES = 112


def _load_libcrypto() -> ctypes.CDLL | None:
    """The libcrypto that Python uses, if it is a shared library, otherwise the system's."""
    candidates = [getattr(_hashlib, "__file__", None), ctypes.util.find_library("crypto")]
    for name in filter(None, candidates):
        library = ctypes.CDLL(name)
        if hasattr(library, "SHA256_Init"):
            return library
    return None


_libcrypto = _load_libcrypto()


def can_save_state() -> bool:
    """Whether a libcrypto that can save hash states was found."""
    return _libcrypto is not None


class ResumableSha256:
    """Like `hashlib.sha256()`, with `state()` and `from_state()`. Needs `can_save_state()`."""

    def __init__(self) -> None:
        self._ctx = ctypes.create_string_buffer(_CTX_BYTES)
        _function("SHA256_Init")(self._ctx)

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Raises ValueError when `state` does not come from `state()`."""
        if len(state) != _CTX_BYTES:
            raise ValueError(f"a SHA-256 state has {_CTX_BYTES} bytes, not {len(state)}")
        digest = cls()
        ctypes.memmove(digest._ctx, state, _CTX_BYTES)
        return digest

    def state(self) -> bytes:
        return self._ctx.raw

    def update(self, data: Buffer) -> None:
        """`data` is any contiguous buffer. Releases the interpreter lock."""
        view = memoryview(data)
        start = data if isinstance(data, bytes) else _address(view)
        _function("SHA256_Update")(self._ctx, start, ctypes.c_size_t(view.nbytes))

    def hexdigest(self) -> str:
        """The digest of the data so far; more data may follow."""
        finished = ctypes.create_string_buffer(self._ctx.raw, _CTX_BYTES)
        out = ctypes.create_string_buffer(32)
        _function("SHA256_Final")(out, finished)
        return out.raw.hex()


def _address(view: memoryview) -> "ctypes.Array[ctypes.c_char] | bytes":
    """A C pointer to the view's bytes. Only a read-only view has to be copied."""
    return bytes(view) if view.readonly else (ctypes.c_char * view.nbytes).from_buffer(view)


def _function(name: str) -> "ctypes._NamedFuncPointer":
    if _libcrypto is None:
        raise RuntimeError("no shared libcrypto here: ask can_save_state() first")
    return getattr(_libcrypto, name)
