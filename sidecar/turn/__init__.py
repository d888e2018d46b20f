"""THE CORE, pure: what a turn is, what may happen to it, and what then has to be done.

Nothing here reads a clock, draws a random number, or touches a file, a socket or a log; time and jitter come in as
arguments. Only `machine` decides a turn's state.
"""
