"""How work is spread over a machine. No GPU is at hand where these run: where one is needed, what the backend says of
its devices is replaced, and the test says so."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import sample_units
from bchisto.core.jobs import (
    Resources,
    Work,
    cpu_resources,
    default_jobs,
    in_turn,
    network_resources,
    run_units,
)
from bchisto.core.jobs.backend import gpus_have_bfloat16
from own_process import run_process


def done(work, units=(1, 2), **resources):
    """Return the results of units of work; `cores` is 2."""
    return run_units(
        work,
        list(units),
        steps=lambda _: 1,
        resources=Resources(cores=2, **resources),
        label="t",
        step_name="u",
    )


def test_without_a_gpu_networks_get_a_process_per_core(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    # a host with cards, and a backend that sees none
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert default_jobs() == cores
    assert network_resources() == cpu_resources() == Resources(cores, cores)
    assert network_resources(7) == Resources(7, cores)


def has_cores(monkeypatch, count):
    monkeypatch.setattr("bchisto.core.jobs.resources.default_jobs", lambda: count)


def show_gpus(monkeypatch, capabilities):
    """Let TensorFlow see cards with these compute capabilities; those of other makers have none."""
    import tensorflow as tf

    monkeypatch.setattr("bchisto.core.jobs.backend._GPU_FILES", ("/dev/null",))
    cards = [
        SimpleNamespace(name=f"/GPU:{number}", of=one) for number, one in enumerate(capabilities)
    ]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: cards)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda card, grows: None)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda card: {"compute_capability": card.of} if card.of else {},
    )


@pytest.mark.parametrize(
    ("seen", "environment", "gpus"),
    [
        ([0], "", ("0",)),
        ([0, 1, 2], "", ("0", "1", "2")),
        ([0, 1], "4,GPU-8f2c", ("4", "GPU-8f2c")),
    ],
)
def test_on_gpus_networks_get_a_process_per_card(monkeypatch, seen, environment, gpus):
    show_gpus(monkeypatch, [None for _ in seen])
    has_cores(monkeypatch, 16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
    found = network_resources()
    assert found == Resources(len(seen), 16, gpus)
    assert [found.helpers(units) for units in (0, 1, 100)] == [16, 16, 16 // len(seen)]
    assert network_resources(5) == Resources(5, 16, gpus)
    assert cpu_resources() == Resources(16, 16)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([], False), ([(8, 0)], True), ([(9, 0), (7, 5)], False), ([None], True)],
)
def test_which_gpus_compute_in_bfloat16(monkeypatch, capabilities, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    show_gpus(monkeypatch, capabilities)
    assert gpus_have_bfloat16() == expected


def test_threads_of_networks_share_the_cores(monkeypatch):
    has_cores(monkeypatch, 16)
    for threads, processes in (("1", 16), ("3", 5), ("16", 1), ("40", 1)):
        monkeypatch.setenv("BCHISTO_THREADS", threads)
        assert network_resources() == Resources(processes, 16)
        assert network_resources(7).processes == 7


def test_each_worker_holds_one_card():
    """The cards are names: a worker never looks at them here."""
    found = done(sample_units.card, range(8), processes=4, gpus=("3", "GPU-b"))
    by_process = {
        process: {card for other, card in found if other == process} for process, _ in found
    }
    assert all(len(cards) == 1 for cards in by_process.values())
    held = [card for cards in by_process.values() for card in cards]
    assert set(held) <= {"3", "GPU-b"}
    if len(held) == 4:  # on a busy machine one worker may do all
        assert held.count("3") == held.count("GPU-b") == 2


def test_one_card_is_left_as_it_is(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert {card for _, card in done(sample_units.card, processes=2, gpus=("7",))} == {"7"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_has_one_thread_of_opencv(jobs):
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        assert done(sample_units.opencv_threads, processes=jobs) == [1, 1]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


@pytest.mark.slow
def test_networks_are_computed_with_the_threads_that_are_asked_for():
    def run(threads, units=(1,)):
        return done(sample_units.network_threads, units, processes=1, threads=threads)

    ((own, before),) = run(None)
    assert own == os.getpid()
    assert run(before) == [(own, before)]  # this process computes so already
    other = before + 2
    first, second = run(other, units=(1, 2))
    assert first == second == (first[0], other)  # one process, since `jobs` is 1
    assert first[0] != own
    assert run(None) == [(own, before)]


@pytest.mark.parametrize(
    ("how", "units", "begun", "variable", "expected"),
    [
        (Work(), 10, None, None, (6, 1)),
        (Work(), 4, None, None, (6, 1)),
        (Work(), 3, None, None, (3, 2)),
        (Work(), 1, None, None, (1, 6)),
        (Work(jobs=1), 3, None, None, (1, 2)),  # the same whatever the processes
        (Work(shard="1/3"), 3, None, None, (3, 2)),
        (Work(), 1, 2, None, (3, 2)),  # a folder goes on as it was begun
        (Work(), 1, 16, None, (1, 16)),
        (Work(), 1, 2, "4", (1, 4)),
        (Work(threads=5), 1, 2, "4", (1, 5)),
        (Work(dask="tcp://127.0.0.1:1"), 1, 2, None, (6, None)),  # its workers have their own
    ],
)
def test_the_training_of_few_networks_leaves_no_core_idle(
    monkeypatch, how, units, begun, variable, expected
):
    has_cores(monkeypatch, 6)
    monkeypatch.delenv("BCHISTO_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("BCHISTO_THREADS", variable)
    found = how.training(units, begun=begun)
    assert (found.processes, found.threads, found.cores) == (*expected, 6)


def test_cards_leave_threads_alone(monkeypatch):
    monkeypatch.setattr("bchisto.core.jobs.resources.visible_gpus", lambda: ("0", "1"))
    found = Work().training(1)
    assert (found.gpus, found.threads, found.recorded) == (("0", "1"), None, {})


GROWTH = """
import os
import tensorflow as tf
from tensorflow.python.eager import context

class Card:
    name = "/physical_device:GPU:0"

asked = []
real = tf.config.get_visible_devices
tf.config.get_visible_devices = lambda kind=None: [Card()] if kind == "GPU" else real(kind)
tf.config.experimental.set_memory_growth = lambda card, on: asked.append((card.name, on))
from bchisto.core.jobs import backend, network_resources
backend._GPU_FILES = ("/dev/null",)
assert network_resources().gpus == ("0",), network_resources()
assert asked and set(asked) == {("/physical_device:GPU:0", True)}, asked
assert not context.context()._initialized, "a card was claimed by asking"
assert tf.config.threading.get_intra_op_parallelism_threads() == 0, "one thread feeds a card"
print("ok")
"""


@pytest.mark.slow
def test_asking_takes_no_memory_of_a_card_and_networks_take_what_they_need():
    """TensorFlow's list of cards is replaced; that its context is not started is real."""
    done = run_process(
        sys.executable,
        "-c",
        GROWTH,
        timeout=120,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.stdout.strip() == "ok", done.stderr


def test_who_waits_has_its_turn_although_the_other_removed_the_folder(tmp_path):
    folder = tmp_path / "turns"
    turns = []

    def wait():
        with in_turn(folder, seconds=20) as alone:
            turns.append((alone, folder.is_dir()))

    waiter = threading.Thread(target=wait)
    with in_turn(folder) as alone:
        assert alone
        waiter.start()
        time.sleep(0.2)
        assert turns == []
    waiter.join()
    assert turns == [(True, True)]
    assert not folder.exists()
