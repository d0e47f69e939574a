"""The start of Keras's backend, and the GPUs that it sees; every process of ours starts it here."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from ..core import DependencyError, InputError
from .processes import hold_interrupts

_log = logging.getLogger(__name__)

NETWORK_THREADS = "BCHISTO_THREADS"
"""Variable that says with how many threads a process computes networks on the CPU; workers are told by it."""

_AMPERE = 8
"""Major compute capability of the first NVIDIA cards that compute in bfloat16."""


def prepare_backend() -> str:
    """Import Keras so that several processes can share this machine, and return the name of its backend.

    On the CPU TensorFlow and PyTorch get one thread a process, since processes and not threads use the cores, or as
    many as ``BCHISTO_THREADS`` says. On a GPU memory is taken as it is needed, not all of a card at the start, unless
    the user's environment says otherwise; no card is claimed before a network is built.

    Raises
    ------
    DependencyError
        The backend named by ``KERAS_BACKEND`` is not installed, or images are set to channels first.
    """
    # One compiled function per encoder is what we want; TensorFlow takes several for a mistake and says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # JAX reads it when it first looks for devices, and otherwise takes three quarters of every card there
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        # an interrupt inside an import would be lost in C code, or leave half a module
        with hold_interrupts(), hushed_start():
            import keras

            backend = str(keras.backend.backend())
            if backend == "tensorflow":
                _start_tensorflow()
            elif backend == "torch" and not _torch_gpus():
                import torch

                torch.set_num_threads(asked_threads() or 1)
    except ImportError as error:
        raise DependencyError(
            "Keras cannot load its backend ({}); install it or set KERAS_BACKEND=tensorflow", error
        ) from error
    if keras.config.image_data_format() != "channels_last":
        raise DependencyError('Keras is set to channels first; set "image_data_format": "channels_last" in keras.json')
    return backend


def prepare_torch() -> Any:
    """Import PyTorch for networks that Keras does not run, with the threads that `prepare_backend` gives; return it.

    Raises
    ------
    ImportError
        It is not installed.
    """
    with hold_interrupts(), hushed_start():
        import torch

        if not torch.cuda.is_available():
            torch.set_num_threads(asked_threads() or 1)
    return torch


def asked_threads() -> int | None:
    """Return with how many threads ``BCHISTO_THREADS`` lets processes compute networks on the CPU; None if it is unset.

    Raises
    ------
    InputError
        The variable is set to no positive number.
    """
    given = os.environ.get(NETWORK_THREADS)
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        raise InputError(f"{NETWORK_THREADS}={given}: set it to a number of threads from 1 up, or unset it")
    return int(given)


def computing_threads() -> int | None:
    """Return with how many threads this process computes networks on the CPU; 0 is all, None where no backend tells.

    TensorFlow cannot change it once it has computed something.

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
    """Return the GPUs on which Keras's backend computes, as ``CUDA_VISIBLE_DEVICES`` names them.

    The backend is asked, not the machine: one that was built for the CPU sees none on a host that has GPUs, and in a
    container it sees those that were passed in, whatever their numbers are outside.

    Returns
    -------
    tuple of str
        Empty where networks run on the CPU.

    Raises
    ------
    DependencyError
        See `prepare_backend`.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "").strip() == "-1":  # all are hidden: no backend need be loaded to ask
        return ()
    backend = prepare_backend()
    with hushed_start():
        numbers = {"tensorflow": _tensorflow_gpus, "jax": _jax_gpus}.get(backend, _torch_gpus)()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[number] if number < len(named) else str(number) for number in numbers)


def gpus_have_bfloat16() -> bool:
    """Return whether networks run on GPUs, and all of these compute in bfloat16: NVIDIA's from Ampere on, and others.

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

        known = [str(getattr(device, "compute_capability", "")) for device in jax.local_devices()]
        majors = [int(text.partition(".")[0]) for text in known if text.partition(".")[0].isdecimal()]
    else:
        import tensorflow as tf

        details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
        majors = [device["compute_capability"][0] for device in details if "compute_capability" in device]
    return all(major >= _AMPERE for major in majors)


@contextlib.contextmanager
def hushed_start() -> Iterator[None]:
    """Catch what is written to file descriptor 2 inside the block; it is logged at debug level, or shown on an error.

    TensorFlow 2.21 writes a dozen lines there on import, before any of its log-level variables is read; LightGBM what
    it refuses.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # no stderr at all (a daemon): nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(terminal, 2)
            caught.seek(0)
            os.write(2, caught.read())
            raise
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
        caught.seek(0)
        for line in caught.read().decode(errors="replace").splitlines():
            _log.debug("on stderr: %s", line)


def _start_tensorflow() -> None:
    import tensorflow as tf

    # Asking for devices loads the libraries of the card, while their messages are caught, and takes no memory on it.
    gpus = tf.config.get_visible_devices("GPU")
    # Both are refused once TensorFlow has run something, or the user has divided the card; then it stays as it is.
    with contextlib.suppress(RuntimeError, ValueError):
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(asked_threads() or 1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.zeros(1)  # starts it now, while its messages are caught


def _tensorflow_gpus() -> list[int]:
    import tensorflow as tf

    return [int(device.name.rpartition(":")[2]) for device in tf.config.get_visible_devices("GPU")]


def _jax_gpus() -> list[int]:
    import jax

    return [int(device.id) for device in jax.local_devices()] if jax.default_backend() == "gpu" else []


def _torch_gpus() -> list[int]:
    """Follow the order in which Keras chooses a device of PyTorch, without making a tensor, which would claim it."""
    import torch

    kind, _, number = os.environ.get("KERAS_TORCH_DEVICE", "").partition(":")
    if not kind:
        kind = "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        return [int(number)] if number else list(range(torch.cuda.device_count()))
    return [] if kind == "cpu" else [0]
