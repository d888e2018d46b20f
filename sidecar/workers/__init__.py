"""Several processes on one address and one journal: a parent, and workers that each do a share of the work.

        worker 0 <--link--+                  parent: owns the journal, spawns and replaces workers, passes messages on
        worker 1 <--link--+-- parent         worker: the engine and the byte path of its own turns
        worker 2 <--link--+

A link is a socket pair: nobody else can speak on it, and its end tells a death. No byte of a stream passes through it.
"""
