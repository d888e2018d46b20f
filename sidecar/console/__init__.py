r"""Towards the operator, on an address of its own: health, metrics, a JSON API, and the dashboard.

    request -> guard (host, token, origin) -> health | metrics | api | events | static
                                                 \______ ports ______/
                                          whatever runs the turns, in one process or in several

No proxied byte comes through here, and nothing here is waited for by one.
"""
