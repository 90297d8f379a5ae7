"""What a GPU target is: the facts in targets/cuda-*.toml, which tiles and launches are chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WARP = 32
"""Threads that run together."""
THREADS = 1024
"""The most threads of a block."""
THREAD_REGISTERS = 255
"""The most 32-bit registers of a thread."""
STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a block can have without asking the driver."""
FLAG = 64
"""Bytes of them beside those of the tiles: where the threads of a block read whether theirs is the last slice."""
REGISTER_UNIT = 256
"""Registers are handed out to warps in so many."""


@dataclass(frozen=True)
class GpuTarget:
    """A GPU architecture, and the board that stands for it where tiles are chosen and bounds computed.

    `ghz` and `memory` (bytes a second) are the board's. Per multiprocessor: `lanes` fp32 multiply-adds a cycle, and
    `tensor` of float16 that add up in fp32, on its tensor cores; 32-bit `registers`, resident `threads` and `blocks`,
    bytes of `shared` memory; `block_shared` is the most of these that one block may ask for. `l2` in bytes. `byte` is
    what a byte that blocks move counts where tiles of float32 are chosen, in seconds beside the predicted time, and
    `half_byte` where those of float16 are.
    """

    name: str
    description: str
    architecture: str
    board: str
    multiprocessors: int
    ghz: float
    memory: float
    l2: int
    lanes: int
    registers: int
    threads: int
    blocks: int
    shared: int
    block_shared: int
    tensor: int
    byte: float
    half_byte: float

    @property
    def generation(self) -> int:
        """80 of sm_80: machine code and PTX of an architecture are for those of no smaller number."""
        return int(self.architecture.removeprefix("sm_"))

    @property
    def flops(self) -> float:
        """fp32 operations a second of the whole board; a multiply-add is two."""
        return 2 * self.multiprocessors * self.lanes * self.ghz * 1e9

    @property
    def tensor_flops(self) -> float:
        """float16 operations a second of the whole board, added up in fp32 on tensor cores."""
        return 2 * self.multiprocessors * self.tensor * self.ghz * 1e9

    @property
    def tile_shared(self) -> int:
        """Bytes of shared memory that the tiles of a block may take."""
        return self.block_shared - FLAG

    def resident_blocks(self, threads: int, registers: int, shared: int) -> int:
        """Blocks of `threads` threads with `registers` registers each and `shared` bytes that one multiprocessor holds
        at once; 0 where one does not fit. (The driver keeps 1 KiB a block for itself from sm_80 on; it is counted for
        all.)"""
        warps = -(-threads // WARP)
        per_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
        by_registers = self.registers // per_warp // warps if per_warp else self.blocks
        by_shared = self.shared // (shared + 1024) if shared <= self.block_shared else 0
        return min(self.blocks, self.threads // (warps * WARP), by_registers, by_shared)


def read_gpu(name: str, data: Mapping[str, Any]) -> GpuTarget:
    """The target of a TOML file's content."""
    board, part, block = data["board"], data["multiprocessor"], data["block"]
    return GpuTarget(
        name=name,
        description=data["description"],
        architecture=data["architecture"],
        board=board["name"],
        multiprocessors=board["multiprocessors"],
        ghz=board["ghz"],
        memory=board["memory"],
        l2=board["l2"],
        lanes=part["lanes"],
        registers=part["registers"],
        threads=part["threads"],
        blocks=part["blocks"],
        shared=part["shared"],
        block_shared=block["shared"],
        tensor=part["tensor"],
        byte=data["tiles"]["byte"],
        half_byte=data["tiles"]["half_byte"],
    )
