"""One vector instruction that numba does not offer by itself: add packed numbers to the lanes that a mask selects.

Processors with AVX-512 have it (vpexpand). LLVM knows it as `llvm.masked.expandload` and can translate that for any
processor; where the instruction is missing, that is right but slow, so `available` should be asked first.
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
def add_expanded(typingctx, values, at, lanes, packed, count, up):
    """values[at + i] += the next of packed[count:], for each bit i of lanes (uint16, lowest first) that is set.

    `-=` if up, a literal, is False. The arrays are one-dimensional, contiguous, of one unsigned type. Nothing but
    that many of packed is read, but all of values[at : at + 16] is read and written.
    """
    if not isinstance(up, types.BooleanLiteral):
        return None
    vector = ir.VectorType(ir.IntType(values.dtype.bitwidth), LANES)
    mask = ir.VectorType(ir.IntType(1), LANES)
    bytes_each = values.dtype.bitwidth // 8

    def generate(context, builder, signature, args):
        def address(which, index):
            array = context.make_array(signature.args[which])(context, builder, args[which])
            return builder.gep(array.data, [index])

        function = ir.FunctionType(vector, [vector.element.as_pointer(), mask, vector])
        name = f"llvm.masked.expandload.v{LANES}i{values.dtype.bitwidth}"
        expand = cgutils.get_or_insert_function(builder.module, function, name)
        nothing = ir.Constant(vector, [0] * LANES)
        source = address(3, args[4])
        moves = builder.call(expand, [source, builder.bitcast(args[2], mask), nothing])
        place = builder.bitcast(address(0, args[1]), vector.as_pointer())
        old = builder.load(place, align=bytes_each)
        change = builder.add if up.literal_value else builder.sub
        builder.store(change(old, moves), place, align=bytes_each)
        return context.get_dummy_value()

    return types.void(values, types.intp, types.uint16, packed, types.intp, up), generate
