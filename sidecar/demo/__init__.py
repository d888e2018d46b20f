"""`sidecar demo`: an embedded legacy backend, the same chats with and without the sidecar, and what is left of them."""

from __future__ import annotations


def play(once: bool) -> int:
    """Play the demo, and serve on until Ctrl-C unless `once`. Give the exit code: 0 if all went as promised, else 1."""
    # The backend alone (tests, `python -m sidecar.demo.backend`) must not bring in the whole sidecar.
    from sidecar.demo.show import run  # noqa: PLC0415

    return run(once=once)


def serve_backend(port: int | None) -> int:
    """Serve the backend alone until Ctrl-C, at its usual port unless one is named. Give the exit code."""
    from sidecar.demo.alone import serve_alone  # noqa: PLC0415  (the same)

    return serve_alone(port=port)
