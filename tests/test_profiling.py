"""A trace is made when it is asked for, of the steps after those that warm up."""

from latentjax.profiling import Trace


def test_the_asked_for_steps_are_traced(tmp_path, caplog):
    caplog.set_level("INFO")
    with Trace(tmp_path, 100, 3) as trace:
        running = []
        for step in range(101, 120):
            with trace.step(step):
                running.append((step, trace._running))
    assert [step for step, on in running if on] == [111, 112, 113]
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert caplog.text.count("the trace is in") == 1


def test_a_run_that_ends_earlier_keeps_its_trace(tmp_path):
    with Trace(tmp_path, 0, 100) as trace, trace.step(11):
        pass
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_without_a_wish_there_is_none(tmp_path):
    with Trace(tmp_path, 0, 0) as trace:
        for step in range(1, 20):
            with trace.step(step):
                pass
    assert not list(tmp_path.iterdir())


def test_a_trace_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    (tmp_path / "profile").write_text("")
    with Trace(tmp_path, 0, 3) as trace:
        for step in range(1, 20):
            with trace.step(step):
                pass
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{tmp_path}/profile: no trace is written (")


def test_a_start_too_short_for_a_trace_says_so(tmp_path, caplog):
    with Trace(tmp_path, 100, 3) as trace:
        for step in range(101, 111):
            with trace.step(step):
                pass
    assert caplog.messages == ["no step was traced: this start ended before step 111"]
