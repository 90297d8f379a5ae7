"""The hottest loop of a kernel, found in PTX."""

from __future__ import annotations

from mncc.library.loops import Loop, hottest, hottest_product
from mncc.library.ptx import ptx_codes

TWO_LOOPS = """
.visible .entry outer(
	.param .u64 outer_param_0
)
{
	.reg .f32 	%f<9>;
	mov.u32 	%r1, %tid.x;
$L__BB0_1:
	ld.global.f32 	%f1, [%rd1];
	bar.sync 	0;
$L__BB0_2:
	ld.shared.v4.f32 	{%f1, %f2, %f3, %f4}, [%r2];
	ld.shared.f32 	%f5, [%r3];
	fma.rn.f32 	%f6, %f1, %f5, %f6;
	fma.rn.f32 	%f7, %f2, %f5, %f7;
	add.s32 	%r2, %r2, 16;
	@%p1 bra 	$L__BB0_2;
	@!%p2 bra 	$L__BB0_1;
	ret;
}
.visible .entry straight(
	.param .u64 straight_param_0
)
{
	@%p1 bra 	$L__BB1_1;
	ld.global.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd1];
$L__BB1_1:
	ret;
}
"""


def test_the_inner_loop_counts_and_not_what_is_around_it() -> None:
    loop = hottest(ptx_codes(TWO_LOOPS)["outer"])
    assert loop == Loop(instructions=6, multiplies=2, shared=2, shared_wide=1)
    assert loop.share == 2 / 6


def test_a_kernel_that_multiplies_nothing_counts_as_a_whole() -> None:
    assert hottest(ptx_codes(TWO_LOOPS)["straight"]) == Loop(instructions=3, loaded=1, loaded_wide=1)


PRODUCT = """
.visible .entry product(
)
{
	ld.shared.v4.f32 	{%f1, %f2, %f3, %f4}, [%r1];
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r9];
	ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r5, %r6, %r7, %r8}, [%r10];
	mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2}, {%r1, %r2}, {%r5, %r6}, {%f1, %f2};
	st.shared.v2.f32 	[%r11], {%f1, %f2};
	ret;
}
"""


def test_a_product_on_tensor_cores() -> None:
    assert hottest_product(ptx_codes(PRODUCT)["product"]) == Loop(3, 1, 2, 2)
    assert hottest_product(ptx_codes(TWO_LOOPS)["outer"]) is None
