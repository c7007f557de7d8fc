"""A cache-line prefetch for compiled code, which numba does not offer by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def prefetch_row(typingctx: Any, array: Any, row: Any, line: Any) -> Any:
    """Ask for cache line `line` (64 bytes each) of `array[row]`, a 2-d C array; never faults.

    Emits LLVM's `llvm.prefetch` (read, highest locality, data cache); a hint that the processor
    may ignore, legal for any address.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_value, row_value, line_value = args
        view = context.make_array(signature.args[0])(context, builder, array_value)
        stride = cgutils.unpack_tuple(builder, view.strides, 2)[0]
        address = builder.ptrtoint(view.data, stride.type)
        row_bytes = builder.mul(builder.sext(row_value, stride.type), stride)
        line_bytes = builder.mul(
            builder.sext(line_value, stride.type), ir.Constant(stride.type, 64)
        )
        target = builder.add(address, builder.add(row_bytes, line_bytes))
        byte_pointer = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, flag, flag, flag])
        function = cgutils.get_or_insert_function(
            builder.module, function_type, "llvm.prefetch.p0i8"
        )
        builder.call(
            function,
            [
                builder.inttoptr(target, byte_pointer),
                ir.Constant(flag, 0),
                ir.Constant(flag, 3),
                ir.Constant(flag, 1),
            ],
        )
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), codegen
