"""Where captured values come from and where they are spent; pure.

A *source* names a place in a request, an answer or a stream; a *template* has `{names}` that captured values fill in.
"""
