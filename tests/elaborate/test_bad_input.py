"""Whatever a file holds, it gives a network or diagnostics, and quickly."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mncc.elaborate import elaborate, load
from mncc.language import DiagnosticError, Source, parse
from mncc.language import errors as language_errors
from mncc.network.graph import Network, check_network

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("mobilenet_v*.mn"))
TEXTS = [path.read_text(encoding="utf-8") for path in EXAMPLES]
WORDS = """x - / -> ( ) [ ] : = # 0 -1 1e9 3x3 5x ^2 ² × $ \\times | none true if else not . , body image classes
width c k conv2d bottleneck s2 é 99999999999999999999 \"""".split()
PIECES = [
    *WORDS, "\n", "\t", "  ", "Conv dw", "block b(c):\n  return x -> b c\n", "use mobilenet_v2\n", "\x00", "\ufeff",
    "output y = body.row(1)\n", "let k = k\n", "network n\n", "input i: 3x3x3\n", "body z from image\n",
]  # fmt: skip


def outcome(text: str) -> Network | DiagnosticError:
    """What the check of a file comes to; other exceptions are the test's failure."""
    try:
        network = elaborate(parse(Source("examples/mutated.mn", text)))
    except DiagnosticError as error:
        assert error.diagnostics, "an error that says nothing"
        assert all(d.render().startswith("error: ") for d in error.diagnostics)
        return error
    check_network(network)
    return network


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 2, 5, 20, 100]))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=5))
        kind = draw(st.sampled_from(["insert", "replace", "copy"]))
        if kind == "copy":
            other = draw(st.integers(0, len(text)))
            piece = text[other : other + length]
        text = text[:start] + piece + text[start + (0 if kind == "insert" else length) :]
    return text


@settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_mutated_files(text: str) -> None:
    assert isinstance(outcome(text), Network | DiagnosticError)


@pytest.mark.full
@settings(max_examples=3000, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_many_mutated_files(text: str) -> None:
    assert isinstance(outcome(text), Network | DiagnosticError)


@settings(max_examples=60, deadline=5000)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40))
def test_arbitrary_texts(pieces: list[str]) -> None:
    assert isinstance(outcome(" ".join(pieces)), Network | DiagnosticError)


def only(error: DiagnosticError) -> object:
    (diagnostic,) = error.diagnostics
    return diagnostic


def refused(path: Path) -> object:
    with pytest.raises(DiagnosticError) as caught:
        load(path)
    return only(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "net.mn"
    assert refused(path) == language_errors.NotFound(str(path))
    (tmp_path / "nets.mn").write_text("network n")
    assert refused(path) == language_errors.NotFound(str(path), (f"`{tmp_path / 'nets.mn'}`",))
    assert isinstance(refused(tmp_path), language_errors.Unreadable)
    path.write_bytes(b"")
    assert refused(path) == language_errors.EmptyFile(str(path))
    path.write_bytes(b"network n\n\x80\x81")
    assert refused(path) == language_errors.NotText(str(path), 10)
    path.write_bytes(b"\x7fELF\x02\x01\x01\x00\x00")
    assert refused(path) == language_errors.NotText(str(path), 7)


def test_a_file_of_10_megabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "net.mn"
    path.write_bytes(b"bottleneck 6 24 2 2\n" * 500_000)
    start = time.perf_counter()
    diagnostic = refused(path)
    assert time.perf_counter() - start < 1
    assert diagnostic == language_errors.TooLarge(str(path), 10_000_000, 128 * 1024)
    assert "10,000,000 bytes" in diagnostic.title  # type: ignore[attr-defined]


def test_a_device_that_never_ends_is_refused() -> None:
    if os.path.exists("/dev/zero"):
        assert isinstance(refused(Path("/dev/zero")), language_errors.TooLarge)


HEADER = "network n\ninput image: 32x32x16\n"
HOSTILE = {
    "brackets": HEADER + "let k = " + "(" * 50_000,
    "open brackets on every line": HEADER + "let k = (\n" * 9_000,
    "a sum": HEADER + "let k = " + "1 + " * 30_000 + "1\n",
    "conditionals": HEADER + "let k = " + "1 if true else " * 5_000 + "1\n",
    "attributes": HEADER + "let k = image" + ".c" * 20_000 + "\n",
    "arrows": HEADER + "output y = image" + " -> relu" * 10_000 + "\n",
    "rows": HEADER + "bottleneck 6 16 1 1\n" * 6_000,
    "a wide row": HEADER + "1 x " * 30_000 + "\n",
    "a wide heading": HEADER + "Operator " + "t c n s " * 10_000 + "\n",
    "a wide row below a wide heading": HEADER + "Operator " + " ".join(f"c{i}" for i in range(150)) + "\n" + "1 " * 150,
    "a long word": HEADER + "a" * 100_000 + "\n",
    "quotes": HEADER + '"' * 99_999 + "\n",
    "groups": HEADER + "1000x bottleneck 6 16 1000 1\n" * 100,
    "blocks": HEADER + "".join(f"block b{i}: return x -> relu\n" for i in range(3_000)),
    "lets": HEADER + "".join(f"let k{i} = k{i + 1}\n" for i in range(4_000)) + "let k4000 = 1\n",
    "lets that each need the last": HEADER + "".join(f"let k{i} = not (not (k{i + 1}))\n" for i in range(300)),
    "powers": HEADER + "".join(f"block b{i}(n): return n if n > 0 else 0\n" for i in range(10))
    + "".join(f"block c{i + 1}(n): return (x -> c{i}(n)) + (x -> c{i}(n))\n" for i in range(40))
    + "output y = image -> c40(1)\n",
    "doubling numbers": HEADER + "let k0 = 2\n" + "".join(f"let k{i + 1} = k{i} * k{i}\n" for i in range(50)),
    "many classes": HEADER.replace("network n", "network n(c = 2000000000)") + "output y = image -> conv 1x1 c\n",
    "colours": "network n\ninput image: 1x1x2000000000 mean 0.5 std 0.5\noutput y = image -> relu\n",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(case: str) -> None:
    start = time.perf_counter()
    assert isinstance(outcome(HOSTILE[case]), DiagnosticError | Network)
    assert time.perf_counter() - start < 20


def test_errors_are_reported_up_to_a_limit() -> None:
    result = outcome(HEADER + "".join(f"unknown{i} 6 16 1 1\n" for i in range(500)))
    assert isinstance(result, DiagnosticError)
    assert len(result.diagnostics) == 100


def test_a_chain_of_files_that_use_each_other(tmp_path: Path) -> None:
    for i in range(60):
        rest = f"use n{i + 1}\noutput y = n{i + 1}.y\n" if i < 59 else "output y = image -> relu\n"
        (tmp_path / f"n{i}.mn").write_text(f"network n{i}\ninput image: 8x8x3\n{rest}")
    with pytest.raises(DiagnosticError, match="levels deep"):
        load(tmp_path / "n0.mn")
    assert load(tmp_path / "n55.mn").nodes[0].name == "n56.n57.n58.n59.y.relu"


def test_shuffled_lines() -> None:
    lines = TEXTS[1].splitlines(keepends=True)
    for seed in range(5):
        shuffled = lines[:]
        random.Random(seed).shuffle(shuffled)
        assert isinstance(outcome("".join(shuffled)), Network | DiagnosticError)


def test_neither_tvm_nor_torch_is_loaded() -> None:
    program = (
        "import sys; from mncc.elaborate import load; load(sys.argv[1]);"
        "sys.exit(','.join(sorted({'tvm', 'torch', 'numpy'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(EXAMPLES[0])], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
