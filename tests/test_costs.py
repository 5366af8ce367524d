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


@pytest.mark.parametrize(
    ("written", "joined"),
    [
        ("replica_groups={{0,1},{2,3}}, use_global_device_ids=true", [[0, 1], [2, 3]]),
        ("replica_groups={}, to_apply=%add", [[0, 1, 2, 3]]),
        ("replica_groups=[1,4]<=[4], to_apply=%add", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), to_apply=%add", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=1] {'axis_0'}, to_apply=%add", [[0, 1, 2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, to_apply=%add", [[0, 2], [1, 3]]),
        ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
        ("no collective", []),
    ],
)
def test_which_devices_a_collective_joins(written, joined):
    assert costs.groups(f"%x = f32[3] all-reduce(%y), channel_id=1, {written}", 4) == joined


def test_cycles_of_a_loop_count_in_every_round():
    assert costs.estimated_cycles(NESTED) == 1000 + 3 * (100 + 16 * 10)


def test_an_operation_without_an_estimate_counts_for_nothing():
    unknown = NESTED.replace('"estimated_cycles":"100"', f'"estimated_cycles":"{2**63 - 1}"')
    assert costs.estimated_cycles(unknown) == 1000 + 3 * 16 * 10


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
