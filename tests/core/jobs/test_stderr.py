"""What is written to stderr while a library starts: its own lines are hushed, those of other threads are not lost."""

import logging
import os
import threading

import pytest
from bchisto.core.jobs import hushed_start

OF_LIBRARIES = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795967863.486758   30140 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1795967869.509674   30140 cuda_platform.cc:52] failed call to cuInit: INTERNAL: (303)",
    "2026-11-29 15:57:49.509674: E external/local_xla/xla/stream_executor/cuda_dnn.cc:9261] twice",
    "2026-11-29 15:57:49.509674: W tensorflow/core/gpu_device.cc:2256] Cannot dlopen some libraries.",
    "Skipping registering GPU devices...",
    "2026-11-29 15:57:49.509674: I tensorflow/core/platform/cpu_feature_guard.cc:182] optimized",
    "To enable the following instructions: AVX2, rebuild TensorFlow with the appropriate flags.",
    "[W1129 15:57:43.123456789 NNPACK.cpp:61] Could not initialize NNPACK!",
    "[LightGBM] [Fatal] Check failed: (num_leaves) > (1) at /src/io/config_auto.cpp, line 352 .",
    "",
]
OF_OTHERS = [
    "2026-11-29 15:57:43 INFO app: answered in 12 ms",
    "2026-11-29 15:57:43.123456: I app: answered",
    "I1129 15:57:43.123456 30140 app.py:12] answered",
    "Traceback (most recent call last):",
    '  File "app.py", line 1, in <module>',
    "127.0.0.1 - - [29/Nov/2026 15:57:43] GET /",
    "W\u00e4rnung",
]


def test_only_lines_of_libraries_are_hushed(capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="bchisto")
    with hushed_start():
        for line in [*OF_LIBRARIES, *OF_OTHERS, *OF_LIBRARIES]:
            os.write(2, f"{line}\n".encode())
    assert capfd.readouterr().err.splitlines() == OF_OTHERS
    assert [record.args[0] for record in caplog.records] == OF_LIBRARIES * 2


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_if_it_fails_all_is_printed(capfd, stop):
    def start():
        with hushed_start():
            os.write(2, f"{OF_LIBRARIES[0]}\n".encode())
            raise stop

    with pytest.raises(stop):
        start()
    assert capfd.readouterr().err.splitlines() == OF_LIBRARIES[:1]


def test_threads_that_start_at_once_leave_stderr_as_it_was(capfd):
    """The second began in the block of the first, and put the file of that back as stderr when it ended later."""
    first_began = threading.Event()
    second_waits = threading.Event()

    def work():
        first_began.wait(10)
        second_waits.set()
        with hushed_start():
            os.write(2, b"from the second\n")

    thread = threading.Thread(target=work)
    thread.start()
    before = os.fstat(2).st_ino
    with hushed_start():
        first_began.set()
        second_waits.wait(10)
        thread.join(0.2)
        os.write(2, b"from the first\n")
        with hushed_start():  # in the same thread, as an encoder that imports a library
            os.write(2, b"from within\n")
    thread.join(10)
    assert os.fstat(2).st_ino == before
    os.write(2, b"after\n")
    assert sorted(capfd.readouterr().err.splitlines()) == [
        "after",
        "from the first",
        "from the second",
        "from within",
    ]


def test_without_a_folder_for_temporary_files_all_is_printed(capfd, monkeypatch):
    def refuse():
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with hushed_start():
        os.write(2, f"{OF_LIBRARIES[0]}\n".encode())
    assert capfd.readouterr().err.splitlines() == OF_LIBRARIES[:1]
