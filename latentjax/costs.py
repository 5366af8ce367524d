"""What a compiled program costs, where the compiler does not say it outright."""

import re
from typing import Any

import jax
import numpy as np
from jax.extend import core

BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Kind to number and bytes of the collective operations of a compiled program."""
    found: dict[str, tuple[int, int]] = {}
    pattern = r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
    for shapes, kind in re.findall(pattern, text):
        parts = re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        size = sum(BYTES.get(dtype, 4) * int(np.prod([int(n) for n in dims.split(",") if n])) for dtype, dims in parts)
        count, total = found.get(kind, (0, 0))
        found[kind] = (count + 1, total + size)
    return found


def estimated_cycles(text: str) -> float:
    """Cycles by the TPU compiler's estimates of each operation, those in a loop in every round; 0 elsewhere."""
    bodies = dict(re.findall(r"^(?:ENTRY )?%(\S+) \(.*?\{\n(.*?)^\}", text, re.M | re.S))
    rounds, around = {}, {}
    for name, lines in bodies.items():
        for condition, body in re.findall(r" while\(.*?condition=%([^,\s]+), body=%([^,\s]+)", lines):
            limits = re.findall(r"s32\[\]\S* constant\((\d+)\)", bodies[condition])
            rounds[body], around[body] = max(map(int, limits), default=1), name

    def times(name: str) -> int:
        return rounds[name] * times(around[name]) if name in rounds else 1

    cycles = {name: sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', lines))) for name, lines in bodies.items()}
    return float(sum(n * times(name) for name, n in cycles.items() if n))


def flops_of_further_rounds(jaxpr: core.Jaxpr, micro_batches: int = 1) -> float:
    """Operations of loops after their first round, which is all that the compiler counts.

    Args:
        jaxpr: of the program.
        micro_batches: if there are any, the outermost loops are over them, and count once.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() if isinstance(p, core.Jaxpr | core.ClosedJaxpr)]
        if equation.primitive.name == "scan" and micro_batches == 1:
            total += (equation.params["length"] - 1) * flops(equation.params["jaxpr"])
            continue
        left = 1 if equation.primitive.name == "scan" else micro_batches
        for one in inner:
            total += flops_of_further_rounds(one.jaxpr if isinstance(one, core.ClosedJaxpr) else one, left)
    return total


def flops(jaxpr: core.ClosedJaxpr) -> float:
    """Operations of a program as it was written."""
    shapes = [jax.ShapeDtypeStruct(shape.shape, shape.dtype) for shape in jaxpr.in_avals]
    cost: Any = jax.jit(core.jaxpr_as_fun(jaxpr)).lower(*shapes).cost_analysis()
    return cost["flops"]
