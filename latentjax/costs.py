"""What a compiled program costs, where the compiler does not say it outright."""

import re
from typing import Any

import jax
import numpy as np
from jax.extend import core

BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}
NO_ESTIMATE = 2**63 - 1  # what the TPU's compiler writes where it has none


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


def groups(text: str, devices: int) -> list[list[int]]:
    """The devices that each kind of collective operation of a compiled program joins, by their place in the mesh."""
    forms = r"\{\{.*?\}\}|\{\}|mesh\[.*?\] \{.*?\}|\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?"
    found = set(re.findall(rf"(?:replica_groups|source_target_pairs)=({forms})", text))
    return [group for written in sorted(found) for group in listed(written) or [list(range(devices))]]


def listed(written: str) -> list[list[int]]:
    """Groups in XLA's forms: {{0,1},{2,3}}, [2,2]<=[2,2]T(1,0), mesh['a'=2,'b'=2] {'a'}; none where all are one."""
    if written[0] == "{":
        return [numbers(group) for group in written.split("},{") if numbers(group)]
    if written[0] == "[":
        shape, source, *order = map(numbers, re.findall(r"[\[(]([\d,]+)", written))
        places = np.arange(np.prod(source)).reshape(source)
        return places.transpose(order[0] if order else range(len(source))).reshape(shape).tolist()
    lengths, joined = re.findall(r"'(\w+)'=(\d+)", written), written.split("] ")[1]
    places = np.arange(np.prod([int(length) for _, length in lengths])).reshape([int(length) for _, length in lengths])
    last = [axis for axis, (name, _) in enumerate(lengths) if f"'{name}'" in joined]
    ways = np.prod([places.shape[axis] for axis in last])
    return np.moveaxis(places, last, range(-len(last), 0)).reshape(-1, ways).tolist()


def numbers(text: str) -> list[int]:
    """Those in a text."""
    return [int(number) for number in re.findall(r"\d+", text)]


def estimated_cycles(text: str) -> float:
    """Cycles by the TPU compiler's estimates of each operation, those in a loop in every round; 0 elsewhere.

    They are too few where it has no estimate of an operation.
    """
    bodies = dict(re.findall(r"^(?:ENTRY )?%(\S+) \(.*?\{\n(.*?)^\}", text, re.M | re.S))
    rounds, around = {}, {}
    for name, lines in bodies.items():
        for condition, body in re.findall(r" while\(.*?condition=%([^,\s]+), body=%([^,\s]+)", lines):
            limits = re.findall(r"s32\[\]\S* constant\((\d+)\)", bodies[condition])
            rounds[body], around[body] = max(map(int, limits), default=1), name

    def times(name: str) -> int:
        return rounds[name] * times(around[name]) if name in rounds else 1

    written = {name: map(int, re.findall(r'"estimated_cycles":"(\d+)"', lines)) for name, lines in bodies.items()}
    cycles = {name: sum(n for n in found if n != NO_ESTIMATE) for name, found in written.items()}
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
