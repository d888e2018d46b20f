"""`python -m fuzz.coverage TARGET [-runs=N ...]`: coverage leads the mutation. Needs atheris; takes libFuzzer's flags.

What reaches new code is only for the run; a finding is kept in the target's corpus.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

from fuzz.corpus import FOLDER
from fuzz.mutate import BYTES_MAX

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed; run: pip install atheris")

with atheris.instrument_imports(include=["sidecar"]):
    from fuzz.targets import TARGETS


def main(name: str, flags: list[str]) -> None:
    """Fuzz a target; exits."""
    corpus = FOLDER / name
    with TemporaryDirectory() as grown:
        own = [f"-max_len={BYTES_MAX}", f"-artifact_prefix={corpus}/found-"]
        atheris.Setup([sys.argv[0], *own, *flags, grown, str(corpus)], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) == 1 or sys.argv[1] not in TARGETS:
        sys.exit(f"which target? one of {', '.join(TARGETS)}")
    main(sys.argv[1], sys.argv[2:])
