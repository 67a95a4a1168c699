"""SentencePiece's `precompiled_charsmap`: rewriting rules from bytes to bytes, the longest that fits first.

Its own compiler takes whole code points only. The format knows bytes, so that a rule may stand for half a character: the
array's length, a double array (darts-clone: one uint32 a node, children found by XOR), the results, each ended by NUL.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = 256  # positions that the children of one node may take; SentencePiece wants the array to end on such a bound
LEAF, HAS_LEAF, OFFSET = 1 << 31, 1 << 8, 10
LARGEST_OFFSET = 1 << 21


@dataclass
class _Node:
    children: dict[int, "_Node"] = field(default_factory=dict)
    result: bytes | None = None


def charsmap(rules: Mapping[bytes, bytes]) -> bytes:
    """The charsmap of `rules`. No key is empty, and no key or result holds NUL, which ends a string there.

    Raises:
        ValueError: a key or a result cannot be told.
    """
    root = _Node()
    for key, result in rules.items():
        if not key or b"\0" in key + result:
            raise ValueError("a charsmap's keys are not empty, and neither keys nor results hold NUL")
        node = root
        for byte in key:
            node = node.children.setdefault(byte, _Node())
        node.result = result
    array, results = _double_array(root)
    return struct.pack(f"<I{len(array)}I", len(array) * 4, *array) + results


def _double_array(root: _Node) -> tuple[list[int], bytes]:
    """Every node has a base of its own: one with children the start of a block, an end a single place after the blocks."""
    inner = _inner(root)
    blocks, ends = iter(range(BLOCK, (inner + 1) * BLOCK, BLOCK)), (inner + 1) * BLOCK
    units: dict[int, int] = {}
    results = bytearray()
    waiting = [(root, 0, 0)]
    while waiting:
        node, place, label = waiting.pop()
        if node.children:
            base = next(blocks)
        else:
            base, ends = ends, ends + 1
        if place ^ base >= LARGEST_OFFSET:
            raise ValueError("too many rules for a charsmap")
        units[place] = label | (place ^ base) << OFFSET
        if node.result is not None:
            units[place] |= HAS_LEAF
            units[base] = LEAF | len(results)
            results += node.result + b"\0"
        waiting += [(child, base ^ byte, byte) for byte, child in node.children.items()]
    size = -(-ends // BLOCK) * BLOCK
    return [units.get(place, 0) for place in range(size)], bytes(results)


def _inner(node: _Node) -> int:
    return sum(map(_inner, node.children.values())) + bool(node.children)
