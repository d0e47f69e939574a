"""The base of every other package: errors, messages, options declared as fields, arguments and entry points."""

from .arguments import (
    Many,
    PathInput,
    TextInput,
    as_number,
    as_numbers,
    as_path,
    as_paths,
    as_text,
    as_texts,
    as_whole,
    items_of,
    reworded,
)
from .errors import (
    DAMAGE,
    BchistoError,
    BundleError,
    DependencyError,
    DiskFullError,
    ImageError,
    InputError,
    MissingInputError,
    OutputError,
    OverwrittenError,
    ReportError,
    SettingsConflictError,
    StoreError,
    Terminated,
    TissueError,
    WeightsError,
    closest,
    error_number,
    few,
    how_to_install,
    is_out_of_memory,
    one_of,
    os_error,
    output_error,
    printable,
    readable_name,
)
from .extensions import check_name, extension_names, load_extension
from .messages import Message, Names, Parameter, Write, in_python, limited, limited_to, message_of, public, written
from .options import GROUPS, Option, Settings, declared_options, from_options, option, plain_options, plain_value
from .texts import aligned, as_frame, counted, html_lines, html_table, listed, neutral, plural, unneutral

__all__ = [
    "BchistoError",
    "BundleError",
    "DependencyError",
    "DiskFullError",
    "ImageError",
    "InputError",
    "MissingInputError",
    "OutputError",
    "ReportError",
    "SettingsConflictError",
    "StoreError",
    "TissueError",
    "WeightsError",
]
