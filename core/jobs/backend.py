"""Starts Keras's backend, in every process of bchisto, and finds the GPUs that it uses."""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from .. import DependencyError, InputError
from .processes import hold_interrupts

_log = logging.getLogger(__name__)

NETWORK_THREADS = "BCHISTO_THREADS"
"""Environment variable with the number of threads that a process uses for networks on the CPU, also in workers."""

_GPU_FILES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")
"""Device files of Linux for GPUs of NVIDIA, of AMD, and of either on Linux inside Windows."""

_AMPERE = 8
"""Major compute capability of the first NVIDIA cards that compute in bfloat16."""

_ONE_AT_A_TIME = threading.RLock()

_LINE_OF_LIBRARY = re.compile(
    # E0000 00:00:1795967869.509674   30140 cuda_platform.cc:52] ..., and PyTorch's [W1129 ... NNPACK.cpp:61] ...
    rb"\[?[DIWEF]\d{4} \S+ +(\d+ )?\S+\.(cc|cpp|cu|h):\d+\]"
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IWEF] (external|tensorflow)/"
    rb"|WARNING: All log messages before absl|\[LightGBM\] "
    # further lines of such messages
    rb"|Skipping registering GPU devices|To enable the following instructions: |\s*$"
)
"""Lines that TensorFlow, PyTorch and LightGBM write to stderr."""


def named_backend() -> str:
    """Return the name of Keras's backend without importing it: of ``KERAS_BACKEND``, else of ``keras.json``."""
    home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))  # noqa: PTH111 - raises nothing
    name = None
    # Keras reads it too, and raises what is wrong
    with contextlib.suppress(OSError, ValueError, AttributeError):
        name = json.loads((home / "keras.json").read_text()).get("backend")
    return os.environ.get("KERAS_BACKEND") or str(name or "tensorflow")


def prepare_backend() -> str:
    """Import Keras so that several processes can share this machine, and return the name of its backend.

    On the CPU, TensorFlow and PyTorch use ``BCHISTO_THREADS`` threads per process. The default is one, since bchisto
    uses the cores by processes. On a GPU, memory is allocated as needed, unless the environment sets it otherwise.
    No GPU is used before a network is built.

    Raises
    ------
    DependencyError
        The backend named by ``KERAS_BACKEND`` is not installed, or Keras is set to channels first.
    """
    # bchisto compiles one function per encoder; TensorFlow warns of several compilations as a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # without it, JAX allocates three quarters of the memory of every GPU when it first looks for devices
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        # an interrupt during an import could be lost in C code, or leave a module half imported
        with hold_interrupts(), hushed_start():
            import keras

            backend = str(keras.backend.backend())
            if backend == "tensorflow":
                import tensorflow as tf

                # Listing devices loads the libraries of the GPU while their messages are captured, and allocates no
                # GPU memory. TensorFlow refuses settings once it has run something, or if the user has divided the GPU.
                gpus = tf.config.get_visible_devices("GPU")
                with contextlib.suppress(RuntimeError, ValueError):
                    for gpu in gpus:
                        tf.config.experimental.set_memory_growth(gpu, True)
                if not gpus:
                    with contextlib.suppress(RuntimeError):
                        tf.config.threading.set_intra_op_parallelism_threads(asked_threads() or 1)
                        tf.config.threading.set_inter_op_parallelism_threads(1)
                    tf.zeros(1)  # starts TensorFlow now, while its messages are captured
            elif backend == "torch" and not _torch_gpus():
                import torch

                torch.set_num_threads(asked_threads() or 1)
    except ImportError as error:
        raise DependencyError(
            "Keras cannot load its backend ({}); install it or set KERAS_BACKEND=tensorflow", error
        ) from error
    if keras.config.image_data_format() != "channels_last":
        raise DependencyError(
            'Keras is set to channels first; set "image_data_format": "channels_last" in keras.json'
        )
    return backend


def prepare_torch() -> None:
    """Import PyTorch for networks that do not run in Keras, with as many threads as `prepare_backend` sets.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    """
    with hold_interrupts(), hushed_start():
        import torch

        if not torch.cuda.is_available():
            torch.set_num_threads(asked_threads() or 1)


def asked_threads() -> int | None:
    """Return the number of threads for networks on the CPU that ``BCHISTO_THREADS`` sets; None if it is unset.

    Raises
    ------
    InputError
        The variable is not a positive number.
    """
    text = os.environ.get(NETWORK_THREADS)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise InputError(
            f"{NETWORK_THREADS}={text}: set it to a number of threads from 1 up, or unset it"
        )
    return int(text)


def computing_threads() -> int | None:
    """Return the number of threads with which this process runs networks on the CPU; 0 means all, None unknown.

    TensorFlow cannot change the number once it has computed something.

    Raises
    ------
    DependencyError
        See `prepare_backend`.
    """
    backend = prepare_backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return int(tf.config.threading.get_intra_op_parallelism_threads())
    if backend == "torch":
        import torch

        return int(torch.get_num_threads())
    return None


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that Keras's backend uses, as ``CUDA_VISIBLE_DEVICES`` names them.

    The list comes from the backend, not from the machine: a backend that was built for the CPU uses no GPU, even if the
    host has some. In a container, it lists the GPUs that were passed in, whatever their numbers are outside.

    Returns
    -------
    tuple of str
        Empty if networks run on the CPU.

    Raises
    ------
    DependencyError
        See `prepare_backend`.
    """
    value = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if value.strip() == "-1" or (sys.platform == "linux" and not any(map(glob.glob, _GPU_FILES))):
        return ()  # the backend, which takes seconds to load, would see none
    backend = prepare_backend()
    with hushed_start():
        if backend == "tensorflow":
            import tensorflow as tf

            numbers = [
                int(device.name.rpartition(":")[2])
                for device in tf.config.get_visible_devices("GPU")
            ]
        elif backend == "jax":
            import jax

            numbers = []
            if jax.default_backend() == "gpu":
                numbers = [int(device.id) for device in jax.local_devices()]
        else:
            numbers = _torch_gpus()
    names = dict(enumerate(filter(None, map(str.strip, value.split(",")))))
    return tuple(names.get(number, str(number)) for number in numbers)


def gpus_have_bfloat16() -> bool:
    """Return whether networks run on GPUs that all compute in bfloat16: NVIDIA's since Ampere, and other makes.

    Raises
    ------
    DependencyError
        See `prepare_backend`.
    """
    if not visible_gpus():
        return False
    backend = prepare_backend()
    if backend == "torch":
        import torch

        return not torch.cuda.is_available() or bool(torch.cuda.is_bf16_supported())
    if backend == "jax":
        import jax

        majors = []
        for device in jax.local_devices():
            major = str(getattr(device, "compute_capability", "")).partition(".")[0]
            if major.isdecimal():
                majors.append(int(major))
    else:
        import tensorflow as tf

        details = [
            tf.config.experimental.get_device_details(gpu)
            for gpu in tf.config.get_visible_devices("GPU")
        ]
        majors = [
            device["compute_capability"][0] for device in details if "compute_capability" in device
        ]
    return all(major >= _AMPERE for major in majors)


def gpu_memory() -> int | None:
    """Return the bytes of the smallest GPU that Keras's backend sees; None if it does not tell, like TensorFlow.

    Raises
    ------
    DependencyError
        See `prepare_backend`.
    """
    backend = prepare_backend()
    sizes = []
    if backend == "torch":
        import torch

        numbers = range(torch.cuda.device_count())
        sizes = [torch.cuda.get_device_properties(number).total_memory for number in numbers]
    elif backend == "jax":
        import jax

        stats = [device.memory_stats() or {} for device in jax.local_devices()]
        sizes = [device["bytes_limit"] for device in stats if "bytes_limit" in device]
    return min(sizes, default=None)


@contextlib.contextmanager
def hushed_start() -> Iterator[None]:
    """Capture file descriptor 2 (stderr) inside the block, and log what libraries wrote there at debug level.

    TensorFlow 2.21 writes a dozen lines there on import, before it reads any of its log-level variables. LightGBM
    writes its error messages there. Other lines are those of other threads: they are printed after the block, as all
    are if an error is raised.
    """
    # of two threads, the second would keep the file of the first as its stderr
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        try:
            capture = stack.enter_context(tempfile.TemporaryFile())
            terminal = os.dup(2)
        except OSError:  # no stderr at all, as in a daemon, or no folder for temporary files
            yield
            return
        succeeded = False
        _flush()
        os.dup2(capture.fileno(), 2)
        try:
            yield
            succeeded = True
        finally:
            _flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            capture.seek(0)
            for line in capture:
                if succeeded and _LINE_OF_LIBRARY.match(line):
                    _log.debug("on stderr: %s", line.decode(errors="replace").rstrip())
                else:
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _torch_gpus() -> list[int]:
    """Return the GPUs that Keras would choose for PyTorch, without creating a tensor, which would allocate memory."""
    import torch

    kind, _, number = os.environ.get("KERAS_TORCH_DEVICE", "").partition(":")
    if not kind:
        kind = "cpu"
        if torch.backends.mps.is_available():
            kind = "mps"
        elif torch.cuda.is_available():
            kind = "cuda"
    if kind == "cpu":
        return []
    if kind != "cuda":
        return [0]
    if number:
        return [int(number)]
    return list(range(torch.cuda.device_count()))
