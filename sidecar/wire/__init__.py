"""HTTP/1.1 messages as bytes: heads, and where bodies end; the same for both sides. Pure, strict, sans I/O.

What two readers could understand differently is refused (RFC 9112, 11); what is accepted passes on as it came.
"""
