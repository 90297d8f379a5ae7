"""The innermost loops of what ran."""

from bench.arm64.loops import find_loops, loop_text

RAN = {
    0x100: ("mov x0, #0", 1),
    0x104: ("ldr q0, [x1], #0x10", 40),
    0x108: ("fmla v1.4s, v0.4s, v2.s[0]", 40),
    0x10C: ("subs x2, x2, #1", 40),
    0x110: ("b.ne #0x104", 40),
    0x114: ("str q1, [x3], #0x10", 4),
    0x118: ("cbnz w4, #0x104", 4),
    0x11C: ("tbz w4, #0, #0x120", 1),
    0x120: ("b #0x200", 1),
}


def test_only_the_innermost_loop_is_found() -> None:
    (loop,) = find_loops(RAN)
    assert (loop.first, loop.last, loop.rounds, loop.instructions) == (0x104, 0x110, 40, 160)
    assert loop.multiplies == 1
    assert loop.code[0] == "ldr q0, [x1], #0x10"


def test_loops_with_most_instructions_come_first() -> None:
    second = {0x300: ("add x0, x0, #1", 100), 0x304: ("cbz x0, #0x300", 100)}
    assert [loop.first for loop in find_loops({**RAN, **second})] == [0x300, 0x104]


def test_the_text_says_how_much_of_a_loop_multiplies() -> None:
    text = loop_text(find_loops(RAN)[0], {"neoverse-n1": 2.04})
    assert text.startswith("104: 0.000 M instructions in 40 rounds of 4, 1 of them vector multiplications (25%)\n")
    assert "\n    # neoverse-n1: 2.0 cycles in llvm-mca's model\n" in text
    assert text.endswith("    b.ne #0x104")
