"""Scalars for TensorBoard. Written by TensorFlow itself, so that TensorBoard is needed only to look at them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DependencyError

__all__ = ["EventLog"]


class EventLog:
    """Curves in a folder of event files; a run that goes on adds a file.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    DependencyError
        TensorFlow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise DependencyError("`tensorboard` writes with TensorFlow; pip install tensorflow") from error
        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder))
        # the mark by which TensorBoard's scalars page knows a curve
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        self._metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class=1)

    def write(self, values: Mapping[str, Any], *, step: int) -> None:
        """Add one point to each curve; an empty value adds none."""
        with self._writer.as_default():
            for name, value in values.items():
                if value != "":
                    point = self._tf.constant(value, dtype=self._tf.float32)
                    self._tf.summary.write(name, point, step=step, metadata=self._metadata)
        self._writer.flush()
