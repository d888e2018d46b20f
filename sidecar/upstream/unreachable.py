"""Why a connection could not be made, in a few words for a log line or the outbox."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import Final

_REASON_CHARS_MAX: Final = 200


def why_unreachable(error: Exception) -> str:
    """Give the reason; the like failures of a name's several addresses are said once."""
    match error:
        case socket.gaierror():
            return f"its name does not resolve ({error.strerror})"
        case ssl.SSLCertVerificationError():
            return f"its certificate was refused ({error.verify_message})"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS failed ({reason})"
    numbers = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    reasons = ", ".join(os.strerror(number) for number in sorted(numbers))
    return (reasons or str(error) or type(error).__name__)[:_REASON_CHARS_MAX]
