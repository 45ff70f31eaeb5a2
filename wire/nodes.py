"""The head of a payload: a value between stages as one tree of plain msgpack, and the limits it keeps.

A head is one node:

    nil, bool, int, float, str, bin     themselves
    [1, node, ...]       list           [6, dtype, bin]          numpy scalar; [6, "U", node] str_, [6, "S", node] bytes_
    [2, node, ...]       tuple          [7, name, shape, bin?]   torch tensor
    [3, key, node, ...]  dict           [8, bin]                 int beyond 64 bits, little endian, signed
    [4, name, node, ...] record         [9, re, im]              complex
    [5, dtype, shape, bin?]  array      [10, bin or n] str as UTF-8, surrogates kept; [11, n] bytes
    [12, family, dtype, shape, bin or n]  array encoded as bits, png, jpeg, fp16 or int8, see wire.coding and wire.floats
    [13, name, [index, ...], node, ...]   record of which only the fields with these indexes travel, ascending

Arrays are in C order. Where the last bin is absent, or n stands in its place, the bytes are out of band: such
nodes take the payload's buffers in the order in which they stand in the head, one each. A message cannot have
more than 1023 buffers; if it has that many, the last is the rest of them joined. A record's name is its class
name and a check of its field names; its fields follow in order. A dtype is written as wire.dtypes says; that of
an encoded picture is "|u1", that of encoded floats the array's own, or "torch." and a tensor's. Decoded, the encoded
arrays of one payload have at most MAX_JOB bytes together.
"""

from __future__ import annotations

from wire.protocol import MAX_PARTS

__all__ = [
    "ARRAY", "BYTES", "CODED", "COMPLEX", "DICT", "INLINE_BELOW", "INLINE_TOTAL", "INT", "LAST", "LEAVES", "LIST", "MAX_DEPTH",
    "MAX_ITEMS", "PART", "RECORD", "SCALAR", "TENSOR", "TEXT", "TUPLE",
]

LIST, TUPLE, DICT, RECORD, ARRAY, SCALAR, TENSOR, INT, COMPLEX, TEXT, BYTES, CODED, PART = range(1, 14)

LEAVES = frozenset({type(None), bool, int, float, str, bytes})
"""What stands for itself."""
MAX_DEPTH = 64
"""Containers within containers; deeper values are refused, as are those that contain themselves."""
MAX_ITEMS = 2**20
"""Items of all containers of one value together; more belong into an array."""
LAST = MAX_PARTS - 2
"""Index of the last buffer a message can have."""
INLINE_BELOW = 8 * 2**10
"""Smaller arrays travel in the head: over loopback 16 of 8 KiB cost 157 us in the head and 241 us as parts of
their own, 16 of 16 KiB cost 614 and 384. Readers take both."""
INLINE_TOTAL = 2**20
"""Bytes of arrays and long texts in one head; beyond, small ones go out of band too."""
