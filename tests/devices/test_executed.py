"""What the counting plugin writes is read back, and instructions fall into their classes."""

import pytest

from mncc.devices.executed import classify, read_executed

WRITTEN = """mark 0 1
mark 2 1
block 400be0 3
400be0 fmla v0.4s, v1.4s, v2.s[0]
400be4 ldp q0, q1, [x0], #0x20
400be8 b.ne #0x400be0
ran 2 10
ran 0 1
block 400be8 1
400be8 b.ne #0x400be0
ran 2 5
end
"""


def test_counts_are_kept_apart_by_their_marks() -> None:
    executed = read_executed(WRITTEN)
    assert executed.marks == {0: 1, 2: 1}
    assert executed.total(0) == 3
    assert executed.total(2) == 35
    assert executed.total(7) == 0
    assert executed.classes(2) == {"multiply": 10, "vector": 0, "load": 10, "store": 0, "other": 15}


def test_an_instruction_of_several_blocks_is_counted_in_all_of_them() -> None:
    assert read_executed(WRITTEN).by_address([2]) == {
        0x400BE0: ("fmla v0.4s, v1.4s, v2.s[0]", 10),
        0x400BE4: ("ldp q0, q1, [x0], #0x20", 10),
        0x400BE8: ("b.ne #0x400be0", 15),
    }


@pytest.mark.parametrize("text", [WRITTEN.removesuffix("end\n"), "ran 1 2\nend\n", "qemu: what?\nend\n", ""])
def test_a_file_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plugin"):
        read_executed(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fmla v0.4s, v1.4s, v2.s[0]", "multiply"),
        ("fmul v3.8h, v1.8h, v2.8h", "multiply"),
        ("fmadd s0, s1, s2, s3", "vector"),
        ("fmadd w0, w1, w2, w3", "other"),
        ("vfma.f32 q8, q9, q10", "multiply"),
        ("vmla.f32 q8, q9, d10[0]", "multiply"),
        ("vmla.f32 s0, s1, s2", "vector"),
        ("vfma.f32 d0, d1, d2", "multiply"),
        ("mul x0, x1, x2", "other"),
        ("mov v0.16b, v1.16b", "vector"),
        ("movi v0.2d, #0000000000000000", "vector"),
        ("fmax v0.4s, v1.4s, v2.4s", "vector"),
        ("ldp q0, q1, [x0], #0x20", "load"),
        ("ld1r {v9.4s}, [x30], #4", "load"),
        ("prfm pldl2keep, [x12, x0]", "load"),
        ("vld1.32 {d0, d1}, [r0]!", "load"),
        ("stp x29, x30, [sp, #-0x10]!", "store"),
        ("vst1.32 {d0, d1}, [r0]!", "store"),
        ("subs x29, x29, #1", "other"),
        ("b.ne #0x40deac", "other"),
        # Arithmetic of float16 is nothing but bytes to qemu's disassembler: fmla by lane and by vector, fmul, fadd.
        (".byte 0x8a, 0x12, 0x14, 0x4f", "multiply"),
        (".byte 0x23, 0x0c, 0x42, 0x4e", "multiply"),
        (".byte 0x23, 0x1c, 0x42, 0x6e", "multiply"),
        (".byte 0x23, 0x14, 0x42, 0x4e", "vector"),
        (".byte 0x41, 0x00, 0x20, 0xb8", "other"),
    ],
)
def test_classes(text: str, expected: str) -> None:
    assert classify(text) == expected
