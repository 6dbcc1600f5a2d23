"""Names in ZIP archives whose encoding is not told.

Without flag bit 11 a name should be in code page 437 (APPNOTE.TXT, appendix D); programs write it
in whatever their machine's is.
"""

from zipfile import ZipFile, ZipInfo

from charset_normalizer import from_bytes

_IS_UTF8 = 0x800
_USUAL = "cp437"
_OTHERS = ["cp932", "gb18030", "cp949", "big5", "cp866", _USUAL]
_SAMPLE_BYTES = 16 * 1024
_KANA = range(0x3041, 0x3100)
_COMMON_HANZI = range(0xB0, 0xD8)  # first bytes of the usual characters in GB 2312


def names_of(archive: ZipFile) -> list[str]:
    """The entries' names in the order of `infolist`, in the encoding that fits all of them."""
    entries = archive.infolist()
    doubtful = [entry for entry in entries if _is_doubtful(entry)]
    if not doubtful:
        return [entry.filename for entry in entries]
    sample = b"\n".join(entry.filename.encode(_USUAL) for entry in doubtful)[:_SAMPLE_BYTES]
    encoding = _encoding(sample)
    return [
        entry.filename.encode(_USUAL).decode(encoding, "replace")
        if _is_doubtful(entry)
        else entry.filename
        for entry in entries
    ]


def _is_doubtful(entry: ZipInfo) -> bool:
    if entry.flag_bits & _IS_UTF8 or entry.filename.isascii():
        return False
    try:
        entry.filename.encode(_USUAL)
    except UnicodeEncodeError:  # told in Unicode elsewhere
        return False
    return True


def _encoding(sample: bytes) -> str:
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError:
        matches = from_bytes(sample, cp_isolation=_OTHERS)
    else:
        return "utf-8"
    best = matches.best()
    if best is None:
        return _USUAL
    equals = {match.encoding: str(match) for match in matches if match.chaos <= best.chaos}
    if any(ord(char) in _KANA for char in equals.get("cp932", "")):
        return "cp932"
    leads = {byte for byte in sample if byte > 0x7F}
    if "gb18030" in equals and any(byte in _COMMON_HANZI for byte in leads):
        return "gb18030"
    return best.encoding
