"""HTTP towards clients: connections of our own, and the relay behind them.

    server -> connection -> exchange (relayed only) | chat exchange (a turn) | guarded exchange | cancel exchange

`connection` is what a client holds; `exchange` is one request and its response; `chat` makes an exchange a turn.
"""
