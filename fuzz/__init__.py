"""Fuzzing: whatever a peer or an operator may send us is read by these targets, and none of it may surprise us.

    corpus/TARGET/* --mutate--> bytes --TARGET--> nothing, or a Finding: the input is kept in the corpus, for good

Bounded in the tests (`tests/fuzz`); long by hand: `python -m fuzz TARGET --runs N`, or, with atheris,
`python -m fuzz.coverage TARGET`.
"""
