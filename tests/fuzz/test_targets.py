"""A little fuzzing each time: what is in the corpus, changed inputs from fixed seeds, and what Hypothesis thinks of."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.__main__ import fuzz, main
from fuzz.corpus import FOLDER, inputs
from fuzz.cut import pieces
from fuzz.mutate import BYTES_MAX, mutate
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

CHANGED = 150


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_what_is_like_it(name: str) -> None:
    corpus, chance = inputs(name), Random(name)  # noqa: S311  (no secret)
    assert corpus
    for data in corpus:
        TARGETS[name](data)
    for _ in range(CHANGED):
        TARGETS[name](mutate(chance.choice(corpus), corpus, chance))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@settings(max_examples=50, derandomize=True, database=None)
def test_anything_at_all(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_no_corpus_is_without_a_target() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == set(TARGETS)


@given(st.binary(max_size=200), st.integers(0, 255))
def test_pieces_are_the_whole(data: bytes, how: int) -> None:
    assert b"".join(pieces(data, how)) == data
    assert all(pieces(data, how))


def test_the_same_seed_gives_the_same_inputs() -> None:
    corpus = inputs("request")
    one, other = Random(7), Random(7)  # noqa: S311  (no secret)
    for _ in range(50):
        changed = mutate(corpus[0], corpus, one)
        assert changed == mutate(corpus[0], corpus, other)
        assert len(changed) <= BYTES_MAX


def test_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry-after", "--runs", "20"]) == 0
    assert capsys.readouterr().out.startswith("retry-after: 20 inputs in 0 s, seed 0: 0 findings")


def test_a_finding_is_told_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(data: bytes) -> None:
        assert b"\xff" not in data, "as it should"

    monkeypatch.setattr("fuzz.corpus.FOLDER", tmp_path)
    monkeypatch.setattr("fuzz.__main__.TARGETS", {"request": fails})
    (tmp_path / "request").mkdir()
    (tmp_path / "request" / "seed").write_bytes(b"a\xffb")
    assert fuzz("request", runs=0, seed=0) == 1
    assert [path.read_bytes() for path in tmp_path.glob("request/found-*")] == [b"a\xffb"]
    assert "as it should" in capsys.readouterr().out
