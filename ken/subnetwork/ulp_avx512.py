"""One loop body as vector instructions that numba does not offer by itself: sixteen entries moved at a time.

What makes it fast is to load packed numbers into the lanes that a mask selects. Processors with AVX-512 do that in one
instruction (vpexpand). LLVM knows it as `llvm.masked.expandload` and can translate that for any processor; where the
instruction is missing, that is right but slow, so `available` should be asked first.

What it is worth, for `ken.swap` between two subnetworks of the demo pair (share 0.5, minimum of 25): without it, on a
Zen 3 processor, a swap takes 5.1 times as long as `load_state_dict` (89 and 18 ms of processor time), and 68 % of that
(61 ms) is this loop. With it, on a processor that has it, the loop is four times as fast, and a swap takes 2.1 to 2.4
times as long as `load_state_dict` (docs/storing.md).
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Entries that are moved at a time.
LANES = 16


@cache
def available(width: int) -> bool:
    """Whether this processor has the instruction for numbers of that many bytes."""
    features = llvmlite.binding.get_host_cpu_features()
    return bool(features.get("avx512f" if width >= 4 else "avx512vbmi2"))


@intrinsic
def exchange_lanes(typingctx, values, at, lanes_down, down, at_down, lanes_up, up, at_up):
    """Move values[at : at + 16] down and up by the distances of the lanes that are set, as `ulp_distances` means it.

    lanes_down and lanes_up (uint16) have a bit for every entry, the lowest for the first; down[at_down:] and
    up[at_up:] give the distances of those that are set, and no more of them is read. The arrays are one-dimensional,
    contiguous, of one unsigned type.
    """
    bits = values.dtype.bitwidth
    entry, vector = ir.IntType(bits), ir.VectorType(ir.IntType(bits), LANES)
    selection = ir.VectorType(ir.IntType(1), LANES)

    def constant(number):
        return ir.Constant(vector, [number] * LANES)

    def generate(context, builder, signature, args):
        def address(array, index):
            made = context.make_array(signature.args[array])(context, builder, args[array])
            return builder.gep(made.data, [args[index]])

        def key(number):
            magnitude = builder.and_(builder.ashr(number, constant(bits - 1)), constant((1 << (bits - 1)) - 1))
            return builder.xor(number, magnitude)

        def distances(lanes, array, index):
            kind = ir.FunctionType(vector, [entry.as_pointer(), selection, vector])
            name = f"llvm.masked.expandload.v{LANES}i{bits}"
            expand = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(expand, [address(array, index), builder.bitcast(args[lanes], selection), constant(0)])

        place = builder.bitcast(address(0, 1), vector.as_pointer())
        moved = builder.sub(key(builder.load(place, align=bits // 8)), distances(2, 3, 4))
        moved = builder.add(moved, distances(5, 6, 7))
        builder.store(key(moved), place, align=bits // 8)
        return context.get_dummy_value()

    half = types.uint16
    return types.void(values, types.intp, half, down, types.intp, half, up, types.intp), generate
