import logging
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pickle import PicklingError

import pytest
from bchisto.core import BchistoError, DependencyError, ImageError
from bchisto.core.jobs import Progress, Resources, Ticker, format_seconds, map_ahead, run_units
from refusals import refusing
from sample_units import fail_on_three, killed_elsewhere, killed_on_three, nap, square, where


def options(*, jobs=1, **changes):
    return {
        "steps": lambda _: 1,
        "label": "test",
        "step_name": "units",
        "resources": Resources(jobs, 2),
        **changes,
    }


def test_in_this_process():
    results = run_units(square, [1, 2, 3], **options())
    assert results == [(1, os.getpid()), (4, os.getpid()), (9, os.getpid())]


def test_in_worker_processes():
    results = run_units(square, [1, 2, 3, 4], **options(jobs=2))
    assert sorted(value for value, _ in results) == [1, 4, 9, 16]
    assert os.getpid() not in {pid for _, pid in results}


def test_a_filter_of_warnings_that_is_set_meanwhile_stays():
    texts = iter("abcdef")

    def steps(_):
        warnings.filterwarnings("ignore", f"filter {next(texts)}")
        return 1

    run_units(square, [1, 2, 3], **options(jobs=2, steps=steps))
    assert sum("filter" in str(pattern) for _, pattern, *_ in warnings.filters) == 6


def test_here_until_workers_are_worth_their_start():
    small, large = (
        options(resources=Resources(2, 2, start=start, here=True)) for start in (10, 0.01)
    )
    assert {pid for _, pid in run_units(square, [1, 2, 3], **small)} == {os.getpid()}
    units = [0.25] * 8
    results = run_units(nap, units, **large)
    assert len(results) == len(units)
    assert {os.getpid()} < set(results)
    with refusing(r"b003\.tif: truncated", ImageError):
        run_units(fail_on_three, [1, 1, 1, 3], **large)
    with refusing("a worker process was killed", BchistoError):
        run_units(killed_elsewhere, [os.getpid()] * 8, **large)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_arrives_as_itself(jobs):
    with refusing(r"b003\.tif: truncated", ImageError):
        run_units(fail_on_three, [1, 2, 3, 4], **options(jobs=jobs))


def test_a_worker_that_is_killed_is_one_clear_line():
    with refusing(
        "a worker process was killed, most often for lack of memory; what is done", BchistoError
    ):
        run_units(killed_on_three, [1, 2, 3, 4], **options(jobs=2))


def test_items_ahead_are_of_the_same_workers_in_the_next_call():
    calls = []
    for _ in range(3):
        found = map_ahead(where, range(8), processes=2)
        # a thread of its own asks for the items, as when images are prepared
        with ThreadPoolExecutor(1) as thread:
            items = thread.submit(list, found).result()
        assert [item for item, _ in items] == [*range(8)]
        # the first item need not wait for workers
        assert items[0][1] == os.getpid()
        calls.append({pid for _, pid in items[1:]})
    assert len(set.union(*calls)) <= 2
    assert os.getpid() not in set.union(*calls)


@pytest.mark.parametrize("fails", [0, 1, 4])
def test_an_error_of_an_item_ahead_comes_in_its_place(fails):
    items = [0, 1, 2, 3, 4, 5]
    items[fails] = -1
    found = map_ahead(where, items, processes=2)
    assert [next(found)[0] for _ in range(fails)] == items[:fails]
    with refusing("-1: truncated", ImageError):
        next(found)
    # the workers go on with the next call
    assert [item for item, _ in map_ahead(where, range(3), processes=2)] == [0, 1, 2]
    assert list(map_ahead(where, [], processes=2)) == []


def test_another_number_of_workers_waits_for_what_a_stopped_call_left():
    """loky warns of it, which no user can act on."""
    results = map_ahead(nap, [0.5] * 6, processes=2)
    next(results)
    results.close()
    assert len(list(map_ahead(nap, [0, 0, 0], processes=1))) == 3


def test_a_killed_worker_of_items_ahead_ends_only_one_call():
    with refusing("a worker process was killed", BchistoError):
        list(map_ahead(killed_elsewhere, [os.getpid()] * 3, processes=1))
    _, (_, worker), *_ = map_ahead(where, range(4), processes=1)
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.5)
    # one that is killed while it waits is replaced
    assert len(list(map_ahead(where, range(4), processes=1))) == 4


def test_nothing_to_do_and_bad_numbers():
    assert run_units(square, [], **options()) == []
    with refusing("`jobs` 0: give at least 1"):
        run_units(square, [1], **options(jobs=0))


def test_no_scheduler_at_the_address(dask, monkeypatch):
    monkeypatch.setattr("bchisto.core.jobs.cluster._ANSWER_SECONDS", 1)
    with refusing("no Dask scheduler answers there"):
        run_units(square, [1, 2], **options(dask="tcp://127.0.0.1:9"))


def test_dask_that_is_not_installed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with refusing(r"pip install 'dask\[distributed\]>=\S+'", DependencyError):
        run_units(square, [1, 2], **options(dask="tcp://127.0.0.1:8786"))


def test_a_log_gets_lines_with_rate_and_time_left(caplog, monkeypatch):
    clock = iter([0.0, 12.0, 20.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with (
        caplog.at_level(logging.INFO, "bchisto"),
        Progress(total=100, label="work", unit="images") as progress,
    ):
        progress.update_to(24)
        progress.update_to(40)
        progress.update_to(41)
        progress.update_to(30)
    assert [record.message for record in caplog.records] == [
        "work: 40/100 images, 2.00/s, 0:00:30 left"
    ]


def test_words_of_a_process_stand_behind_the_rate(monkeypatch, caplog, tmp_path):
    ticker = Ticker(tmp_path)
    assert ticker.read() == (0, 0, "")
    ticker.tick(note="loss 0.9")
    ticker.tick(note="loss 0.5")
    assert ticker.read() == (2, 0, "loss 0.5")
    import time

    clock = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with (
        caplog.at_level(logging.INFO, "bchisto"),
        Progress(total=4, label="work", unit="epochs") as progress,
    ):
        progress.update_to(1, note="loss 0.9")
        progress.update_to(ticker.read()[0], note=ticker.read()[2])
    assert [record.message for record in caplog.records] == [
        "work: 2/4 epochs, 20 s each; loss 0.5"
    ]
    monkeypatch.undo()


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    logging.getLogger("bchisto").setLevel(logging.INFO)
    with Progress(total=4, label="work", unit="images") as progress:
        progress.update_to(4)
    assert "| 0/4 images [" in capsys.readouterr().err  # it goes when it is full


def test_ticks_of_a_missing_folder_count_nothing(tmp_path):
    Ticker(tmp_path / "gone").tick()
    assert Ticker(None).read() == (0, 0, "")
    ticker = Ticker(tmp_path)
    ticker.tick(3)
    ticker.tick()
    assert ticker.read()[0] == 4


def test_durations():
    assert format_seconds(59.6) == "0:01:00"


def test_a_unit_that_cannot_be_sent_to_a_worker_ends_the_work_at_once():
    with pytest.raises(PicklingError, match="Could not pickle the task"):
        run_units(square, [threading.Lock(), 2], **options(jobs=2))
