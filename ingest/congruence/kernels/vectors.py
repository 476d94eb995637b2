"""Vector operations that numba's loops lack: 64 comparisons into one bit mask, and an inner product whose value does
not depend on the compiler's arrangement. They are written in LLVM's portable IR, so any processor runs them.

Values are float32, or bfloat16 as uint16 (the upper half of a float32's bits). Compiled kernels that use these are
cached on disk: after changing this file remove `ingest/congruence/kernels/__pycache__`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 64
"""Values looked at together: a chunk."""
LANES = 32
"""Lanes of the inner product: vectors are padded with zeros to a multiple of this."""

_FLOAT, _DOUBLE, _INT = ir.FloatType(), ir.DoubleType(), ir.IntType(32)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(pointer, vector.as_pointer())


def _chunk(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """`array[start : start + WIDTH]` as a vector of float32."""
    floats = ir.VectorType(_FLOAT, WIDTH)
    if kind.dtype != types.uint16:
        return builder.load(_address(context, builder, kind, array, start, floats), align=4)
    halves = builder.load(_address(context, builder, kind, array, start, ir.VectorType(ir.IntType(16), WIDTH)), align=2)
    bits = builder.zext(halves, ir.VectorType(_INT, WIDTH))
    return builder.bitcast(builder.shl(bits, ir.Constant(bits.type, [16] * WIDTH)), floats)


def _splat(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, WIDTH)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, _INT(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, WIDTH), [0] * WIDTH))


def _halves(builder: Any, vector: Any, size: int) -> tuple[Any, Any]:
    indices = ir.VectorType(_INT, size)
    return (
        builder.shuffle_vector(vector, vector, ir.Constant(indices, list(range(size)))),
        builder.shuffle_vector(vector, vector, ir.Constant(indices, list(range(size, 2 * size)))),
    )


def _mask(builder: Any, sign: str, left: Any, right: Any) -> Any:
    return builder.bitcast(builder.fcmp_ordered(sign, left, right), ir.IntType(WIDTH))


def _compare(sign: str) -> Any:
    @intrinsic
    def compare(typingctx, values, start, limit):
        def codegen(context, builder, signature, args):
            left = _chunk(context, builder, signature.args[0], args[0], args[1])
            return _mask(builder, sign, left, _splat(builder, args[2]))

        return types.uint64(values, types.intp, types.float32), codegen

    return compare


def _compare_each(sign: str) -> Any:
    @intrinsic
    def compare(typingctx, values, limits, start, shift):
        def codegen(context, builder, signature, args):
            left = _chunk(context, builder, signature.args[0], args[0], args[2])
            right = _chunk(context, builder, signature.args[1], args[1], args[2])
            return _mask(builder, sign, left, builder.fadd(right, _splat(builder, args[3])))

        return types.uint64(values, limits, types.intp, types.float32), codegen

    return compare


# (values, start, limit): bit j says that values[start + j] is at least, or at most, the limit.
at_least, at_most = _compare(">="), _compare("<=")
# (values, limits, start, shift): bit j compares values[start + j] with limits[start + j] + shift.
each_at_least, each_at_most = _compare_each(">="), _compare_each("<=")


@intrinsic
def extremes(typingctx, values, start):
    """(greatest, least) of values[start : start + WIDTH], none of them NaN."""

    def codegen(context, builder, signature, args):
        chunk = _chunk(context, builder, signature.args[0], args[0], args[1])
        scalars = []
        for sign in (">", "<"):
            part, size = chunk, WIDTH
            while size > 1:
                size //= 2
                low, high = _halves(builder, part, size)
                part = builder.select(builder.fcmp_ordered(sign, low, high, flags=("nnan", "nsz")), low, high)
            scalars.append(builder.extract_element(part, _INT(0)))
        return context.make_tuple(builder, signature.return_type, scalars)

    return types.UniTuple(types.float32, 2)(values, types.intp), codegen


@intrinsic
def widened(typingctx, value):
    """A float32 as it is; a bfloat16 given as uint16 as a float32."""

    def codegen(context, builder, signature, args):
        if signature.args[0] != types.uint16:
            return args[0]
        return builder.bitcast(builder.shl(builder.zext(args[0], _INT), _INT(16)), _FLOAT)

    return types.float32(value), codegen


@intrinsic
def lowest_bit(typingctx, mask):
    """Index of the lowest bit set in a mask that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.intp(types.uint64), codegen


@intrinsic
def bits_in(typingctx, mask):
    """Number of bits set."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def dot(typingctx, left, right):
    """Inner product, in float64, of two float32 vectors of the same length, a multiple of LANES.

    A product of two float32 is exact in float64 and the order of summation is written out, so the value is the same on
    every machine and with every compiler.
    """

    def codegen(context, builder, signature, args):
        narrow, wide = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)
        size = builder.extract_value(context.make_array(signature.args[0])(context, builder, args[0]).shape, 0)
        total = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * LANES))
        step = ir.Constant(size.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(size.type, 0), size, step) as (start, _):
            factors = [
                builder.fpext(builder.load(_address(context, builder, kind, array, start, narrow), align=4), wide)
                for kind, array in zip(signature.args, args, strict=True)
            ]
            # Contracting changes nothing, as the product is exact; it saves an instruction.
            product = builder.fmul(*factors, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        part, size = builder.load(total), LANES
        while size > 1:
            size //= 2
            part = builder.fadd(*_halves(builder, part, size))
        return builder.extract_element(part, _INT(0))

    return types.float64(left, right), codegen
