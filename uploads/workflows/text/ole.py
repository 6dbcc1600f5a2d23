"""Which document a file of Office 97 or Outlook holds, by the streams in it ([MS-CFB])."""

from typing import BinaryIO

from olefile import OleFileIO

OLE_HEAD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # section 2.2
_WORD_LOCKED = 0x0100  # of the flags at byte 10 ([MS-DOC] 2.5.2)


def streams(source: BinaryIO) -> set[str]:
    """Names at the top, in lower case; empty for a file whose directory is broken."""
    source.seek(0)
    try:
        with OleFileIO(source) as ole:
            return {path[0].lower() for path in ole.listdir(streams=True, storages=True)}
    except (OSError, ValueError, IndexError, TypeError, RecursionError):
        return set()
    finally:
        source.seek(0)


def is_locked_word(source: BinaryIO) -> bool:
    source.seek(0)
    with OleFileIO(source) as ole, ole.openstream("WordDocument") as stream:
        return bool(int.from_bytes(stream.read(12)[10:12], "little") & _WORD_LOCKED)
