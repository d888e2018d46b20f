"""The event loop: uvloop's, where there is one."""

try:
    from uvloop import new_event_loop
except ImportError:  # it comes with CPython only
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["new_event_loop"]
