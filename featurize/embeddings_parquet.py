"""Embeddings as Parquet: a row per image, or per image and augmentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DependencyError, InputError, how_to_install
from ..formats import FEATURES, GROUP, IMAGE, LABEL, limits
from ..jobs import atomic_output
from .embeddings import Embeddings, choose_known, read_facts, reading

_ABOUT = b"bchisto"


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyError(f"{path}: Parquet files need the Parquet extra: {how_to_install('parquet')}") from error
    return pyarrow


def read_parquet(path: Path) -> Embeddings:
    """Read a column of ids, and features as one column of lists or as numbered columns of numbers.

    Raises
    ------
    InputError
        Damaged, too large, without features or ids, lists of several lengths, or see `Embeddings.of`.
    DependencyError
        pyarrow is not installed.
    """
    arrow = _pyarrow(path)
    with reading(path, "not a Parquet file, or damaged ({})", also=(arrow.ArrowException,)):
        with arrow.parquet.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            if sum(file.metadata.row_group(group).total_byte_size for group in groups) > limits.EMBEDDING_BYTES:
                raise InputError(f"{path}: unpacks to more than {limits.EMBEDDING_BYTES // 1024**3} GiB; split it")
            names = file.schema_arrow.names
            about = (file.schema_arrow.metadata or {}).get(_ABOUT)
            if len(set(names)) < len(names):
                raise InputError(f"{path}: two of its columns have one name")
            numbers = _feature_columns(path, names)
            others = [name for name in names if name not in numbers]
            known = {name for role in (IMAGE, LABEL, GROUP) for tier in role.matching(others) for name in tier}
            augmentation = [name for name in others if name == "augmentation"]
            table = file.read(columns=[*numbers, *known, *augmentation])
        features = _features(path, table, numbers, arrow)
        columns, unread = choose_known(
            path, [n for n in others if n != "augmentation"], lambda name: table.column(name).to_pylist()
        )
        columns |= {name: table.column(name).to_pylist() for name in augmentation}
    facts = read_facts(path, about.decode("utf-8", errors="replace")) if about is not None else None
    return Embeddings.of(path, *_grouped(path, features, columns), facts, unread=unread)


def _feature_columns(path: Path, names: list[str]) -> list[str]:
    """Return the column of lists, or the columns of one prefix that are numbered without a gap."""
    if lists := [name for tier in FEATURES.matching(names)[:2] for name in tier]:
        return lists[:1]
    numbered: dict[str, dict[int, str]] = {}
    for name in names:
        if (match := re.fullmatch(r"(\D*)(\d{1,9})", name)) is not None:
            numbered.setdefault(match[1], {})[int(match[2])] = name
    by_number = max(numbered.values(), key=len, default={})
    if (
        not by_number
        or sorted(by_number) != list(range(min(by_number), min(by_number) + len(by_number)))
        or min(by_number) > 1
    ):
        raise InputError(
            f"{path}: has no column features (or embeddings) of lists, nor columns of numbers that are "
            f"numbered without a gap, such as 0, 1, 2; it has {names[:10]}"
        )
    return [by_number[number] for number in sorted(by_number)]


def _features(path: Path, table: Any, names: list[str], arrow: Any) -> npt.NDArray[Any]:
    column = table.column(names[0]).combine_chunks()
    of_lists = any(
        test(column.type) for test in (arrow.types.is_list, arrow.types.is_large_list, arrow.types.is_fixed_size_list)
    )
    columns = [column.flatten()] if of_lists else [table.column(name).combine_chunks() for name in names]
    if column.null_count or any(numbers.null_count for numbers in columns):
        raise InputError(f"{path}: an embedding is empty (null), or a number in it; leave the row out")
    for numbers in columns:
        if not (arrow.types.is_floating(numbers.type) or arrow.types.is_integer(numbers.type)):
            raise InputError(f"{path}: the features are {numbers.type}, not numbers")
    values = [numbers.to_numpy(zero_copy_only=False) for numbers in columns]
    if not of_lists:
        return np.stack(values, axis=1) if len(values) > 1 else values[0][:, np.newaxis]
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False)) if len(column) else np.zeros(0)
    if len(lengths) != 1:
        raise InputError(f"{path}: embeddings of different lengths ({', '.join(map(str, lengths[:3]))})")
    return np.asarray(values[0].reshape(len(column), int(lengths[0])))


def _grouped(
    path: Path, rows: npt.NDArray[Any], columns: dict[str, list[Any]]
) -> tuple[npt.NDArray[Any], dict[str, list[Any]]]:
    """Put the augmentations of an image together, which stand in as many rows."""
    numbers = columns.pop("augmentation", [])
    if not any(numbers):
        return rows, columns
    by_image: dict[Any, dict[Any, int]] = {}
    for row, (image, number) in enumerate(zip(columns["image_id"], numbers, strict=True)):
        by_image.setdefault(image, {})[number] = row
    count = len(next(iter(by_image.values())))
    for image, row_of in by_image.items():
        if list(row_of) != list(range(count)):
            raise InputError(f"{path}: the augmentations of {image} are not 0 to {count - 1}, as those of others")
    if len(by_image) * count != len(rows):
        raise InputError(f"{path}: an augmentation of an image stands in it twice")
    order = [row for row_of in by_image.values() for row in row_of.values()]
    firsts = [next(iter(row_of.values())) for row_of in by_image.values()]
    known = {name: [column[row] for row in firsts] for name, column in columns.items()}
    return rows[order].reshape(len(by_image), count, -1), known


def write_parquet(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings: a row per image and augmentation.

    Raises
    ------
    DependencyError
        pyarrow is not installed.
    """
    arrow = _pyarrow(path)
    images, count, dim = embeddings.features.shape
    columns = {name: np.repeat(np.array(column, dtype=object), count) for name, column in embeddings.columns.items()}
    table = arrow.table(
        {
            **{name: arrow.array(column) for name, column in columns.items()},
            "augmentation": arrow.array(np.tile(np.arange(count, dtype=np.int32), images)),
            "features": arrow.FixedSizeListArray.from_arrays(arrow.array(embeddings.features.reshape(-1)), dim),
        }
    )
    with atomic_output(path) as temporary:
        arrow.parquet.write_table(table.replace_schema_metadata({_ABOUT: embeddings.about.encode()}), temporary)
