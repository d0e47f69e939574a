"""Write training curves, histograms of weights and the graph for TensorBoard.

TensorFlow writes the files, so TensorBoard is needed only to view them. Other backends of Keras have no graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DependencyError, Message

_BUCKETS = 30
"""Number of buckets of a histogram, as in TensorBoard."""


class EventLog:
    """Writes event files into a folder. A resumed run adds a file.

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
            raise DependencyError(Message("{tensorboard} writes with TensorFlow; pip install tensorflow")) from error
        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, values: Mapping[str, Any], *, step: int) -> None:
        """Add a point to each curve, except for empty values."""
        points = [(name, np.float32(value)) for name, value in values.items() if value != ""]
        self._write(points, step=step, plugin="scalars", kind=1)

    def write_weights(self, model: Any, *, step: int) -> None:
        """Add a histogram of each trained variable, named by its path in the network."""
        from keras import ops

        values = [(v.path, _histogram(ops.convert_to_numpy(v.value))) for v in model.trainable_variables]
        self._write(values, step=step, plugin="histograms", kind=2)

    def write_graph(self, model: Any) -> None:
        """Add the graph of a prediction with the shapes of its tensors. Other backends than TensorFlow have none."""
        import keras

        if keras.backend.backend() != "tensorflow":
            return
        inputs = self._tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        traced = self._tf.function(lambda images: model(images, training=False)).get_concrete_function(inputs)
        with self._writer.as_default():
            self._tf.summary.graph(traced.graph.as_graph_def(add_shapes=True))
        self._writer.flush()

    def _write(self, values: Iterable[tuple[str, npt.ArrayLike]], *, step: int, plugin: str, kind: int) -> None:
        summary = self._tf.compat.v1.SummaryMetadata  # tells TensorBoard which of its pages shows the value
        mark = summary(plugin_data=summary.PluginData(plugin_name=plugin), data_class=kind)
        with self._writer.as_default():
            for name, value in values:
                self._tf.summary.write(name, self._tf.constant(value), step=step, metadata=mark)
        self._writer.flush()


def _histogram(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return left edge, right edge and number of finite values of each bucket, shape (buckets, 3)."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=_BUCKETS)
    return np.column_stack([edges[:-1], edges[1:], counts])
