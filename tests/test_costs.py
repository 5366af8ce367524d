"""What a compiled program costs, where the compiler does not say it outright."""

import jax
import jax.numpy as jnp
import pytest

from latentjax import costs

COLLECTIVES = """
  %all-reduce.1 = f32[10,3]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1}}
  %all-reduce-start.2 = (bf16[4]{0}, f32[]) all-reduce-start(%y, %z), channel_id=2
  %all-reduce-done.2 = (bf16[4]{0}, f32[]) all-reduce-done(%all-reduce-start.2)
  %all-gather.3 = s8[7]{0} all-gather(%w), dimensions={0}
  %add.4 = f32[10,3]{1,0} add(%all-reduce.1, %all-reduce.1)
"""
# as the TPU's compiler writes it: a loop of 16 rounds within one of 3
NESTED = """
%inner.body (p.1: (s32[], f32[8])) -> (s32[], f32[8]) {
  %dot.1 = f32[8]{0} fusion(%a), backend_config={"estimated_cycles":"10"}
}
%inner.condition (p.2: (s32[], f32[8])) -> pred[] {
  %constant.2 = s32[]{:T(128)} constant(16)
}
%outer.body (p.3: (s32[], f32[8])) -> (s32[], f32[8]) {
  %while.3 = (s32[], f32[8]) while(%t.3), condition=%inner.condition, body=%inner.body, metadata={}
  %add.3 = f32[8]{0} add(%b), backend_config={"estimated_cycles":"100"}
}
%outer.condition (p.4: (s32[], f32[8])) -> pred[] {
  %constant.4 = s32[] constant(3)
}
ENTRY %main.5 (p.5: f32[8]) -> f32[8] {
  %while.5 = (s32[], f32[8]) while(%t.5), condition=%outer.condition, body=%outer.body
  %mul.5 = f32[8]{0} multiply(%c), backend_config={"estimated_cycles":"1000"}
}
"""


def test_collectives_are_counted_once():
    assert costs.collectives(COLLECTIVES) == {"all-reduce": (2, 10 * 3 * 4 + 4 * 2 + 4), "all-gather": (1, 7)}


def test_cycles_of_a_loop_count_in_every_round():
    assert costs.estimated_cycles(NESTED) == 1000 + 3 * (100 + 16 * 10)


@pytest.mark.parametrize("micro_batches", [1, 5])
def test_operations_of_a_loop_count_in_every_round(micro_batches):
    rows, matrix = jnp.ones((5, 7, 30, 40)), jnp.ones((40, 50))

    def one(rows):
        return jax.lax.map(jax.jit(lambda row: row @ matrix), rows)

    def program(rows):
        return one(rows[0]) if micro_batches == 1 else jax.lax.map(one, rows)

    traced = jax.jit(program).trace(rows)
    counted = traced.lower().compile().cost_analysis()["flops"]
    more = costs.flops_of_further_rounds(traced.jaxpr.jaxpr, micro_batches)
    assert counted + more == pytest.approx(7 * 2 * 30 * 40 * 50, rel=0.01)
