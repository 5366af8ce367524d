"""What overlaps keeps its order, is bounded, and fails where it is asked for."""

import threading
import time

import pytest

from latentjax.overlap import ahead, in_threads


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_each_item_comes_once_and_in_order(count):
    assert list(ahead(range(count))) == list(range(count))
    assert list(in_threads(lambda number: number, ((i,) for i in range(count)), 2)) == list(range(count))


def test_an_item_is_given_out_after_the_next_was_begun():
    begun = []
    for i in ahead(begun.append(i) or i for i in range(4)):
        assert begun == list(range(min(i + 2, 4)))


def test_results_keep_the_order_of_the_calls_however_long_they_take():
    def slowly(number: int) -> int:
        time.sleep(0.002 * (5 - number % 5))
        return number

    assert list(in_threads(slowly, ((i,) for i in range(20)), 8)) == list(range(20))


def test_calls_are_taken_as_they_are_needed():
    taken, go_on = [], threading.Event()
    results = in_threads(lambda _: go_on.wait(10), ((taken.append(i),) for i in range(100)), 5)
    threading.Timer(0.1, go_on.set).start()
    assert next(results)
    assert len(taken) == 6  # five may wait, and one more has made them too many


def test_an_error_of_a_thread_is_that_of_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, ((i,) for i in range(3)), 2))
