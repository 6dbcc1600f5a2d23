"""Explains failed connections to people: what happened, and what to check."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from enum import Enum, auto

# Codes of OpenSSL (X509_V_ERR_…) that a certificate is refused with.
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = 18
_UNKNOWN_AUTHORITY = (19, 20, 21)
_OTHER_HOST = (62, 64)  # a name, an address

_NO_TLS = "what answers there does not speak TLS. Does the URL mean http://?"
_NO_VERSION = "both sides share no version of TLS. It has to be 1.2 or later."
_OF_TLS = {  # by OpenSSL's reason
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "both sides share no way to encrypt.",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "the receiver asks for a client certificate, and the portal has none."
    ),
    "TLSV1_UNRECOGNIZED_NAME": "the receiver does not know the host of the URL.",
    "UNEXPECTED_EOF_WHILE_READING": "the receiver closed it in the middle. Look at its log.",
}

_TRUST_IT = "PORTAL_CA_BUNDLE names the certificates that are trusted besides the public ones."


class Phase(Enum):
    """How far a request got before it failed."""

    LOOKING_UP = auto()
    CONNECTING = auto()
    SECURING = auto()  # TLS
    ANSWERING = auto()


def explain(error: BaseException, *, phase: Phase, place: str, seconds: float) -> str:
    """One or two sentences about a request to `place` (host and port) that failed in `phase`.

    `seconds` is the time limit of the whole request.
    """
    match _root(error):
        case ssl.SSLCertVerificationError() as fault:
            return f"The certificate of {place} is refused: {_of_certificate(fault)}"
        case ssl.SSLError() as fault:
            return f"There is no secure connection to {place}: {_of_tls(fault)}"
        case TimeoutError():
            return _of_silence(phase, place=place, seconds=seconds)
        case OSError() as fault:
            return _of_system(fault, phase=phase, place=place)
        case other:
            return f"The request to {place} failed: {other or type(other).__name__}."


def of_lookup(fault: Exception) -> str:
    """Why a name could not be resolved."""
    match fault:
        case socket.gaierror(errno=socket.EAI_NONAME):
            return "there is no such name"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "the name server does not answer"
        case OSError(strerror=str(reason)):
            return reason
        case _:
            return "it is not a name of a host"


def _root(error: BaseException) -> BaseException:
    """The system's error behind the exceptions of libraries."""
    return next((each for each in _chain(error) if isinstance(each, OSError)), error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _of_certificate(fault: ssl.SSLCertVerificationError) -> str:
    match fault.verify_code:
        case code if code == _EXPIRED:
            return "it has expired. Renew it there."
        case code if code == _NOT_YET_VALID:
            return "it is not valid yet. Compare the clocks of both machines."
        case code if code == _SELF_SIGNED:
            return f"it is self-signed. {_TRUST_IT}"
        case code if code in _UNKNOWN_AUTHORITY:
            return (
                "its authority is not known. Perhaps the receiver does not send its intermediate "
                f"certificates; or the authority is a private one. {_TRUST_IT}"
            )
        case code if code in _OTHER_HOST:
            return f"it is for another host ({fault.verify_message.rstrip('.')})."
        case _:
            return f"{fault.verify_message}."


def _of_tls(fault: ssl.SSLError) -> str:
    reason = fault.reason or str(fault)
    return _OF_TLS.get(reason) or f"{reason.replace('_', ' ').lower()}."


def _of_silence(phase: Phase, *, place: str, seconds: float) -> str:
    match phase:
        case Phase.LOOKING_UP:
            return f"Looking up the name of {place} took too long. Look at its name server."
        case Phase.CONNECTING:
            return (
                f"Connecting to {place} took too long. Is the receiver running, and does a "
                "firewall keep the connection out?"
            )
        case Phase.SECURING:
            return f"The TLS handshake with {place} took too long. Does the receiver speak TLS?"
        case Phase.ANSWERING:
            return f"No answer within {seconds:g} s. Look at what keeps the receiver busy."


def _of_system(fault: OSError, *, phase: Phase, place: str) -> str:
    match fault:
        case ConnectionRefusedError():
            reason = "nothing listens there. Is the receiver running, and is the port right?"
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return _of_loss(fault, phase=phase, place=place)
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH as number):
            reason = f"{os.strerror(number).lower()}. Look at the network and its firewalls."
        case OSError(errno=int(number)) if number > 0:
            reason = f"{os.strerror(number).lower()}."
        case _:
            reason = f"{str(fault) or type(fault).__name__}."
    return f"Cannot connect to {place}: {reason}"


def _of_loss(fault: OSError, *, phase: Phase, place: str) -> str:
    """The message for a connection that was lost too early."""
    if phase is Phase.SECURING:
        return (
            f"The receiver ended the connection during the TLS handshake. Does {place} speak TLS, "
            "and does it know the host of the URL?"
        )
    how = "reset" if isinstance(fault, ConnectionResetError) else "closed"
    return f"The receiver {how} the connection without an answer. Look at its log."
