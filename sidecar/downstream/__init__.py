"""HTTP towards clients: aiohttp in front, our relay behind it.

    server -> connection -> exchange (relayed only) | chat exchange (a turn) | cancel endpoint

`connection` is what a client holds; `exchange` is one request and its response; `chat` makes an exchange a turn.
"""
