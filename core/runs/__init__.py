"""The run folder and its records: the commands that ran, with settings, versions, hardware and results."""

from .folder import (
    FolderSettings,
    ImageChange,
    InFolder,
    describe_differences,
    differences,
    other_settings,
    read_listing,
    remove_listing,
    write_listing,
)
from .history import RunEntry, diff_runs, list_runs, read_entries, read_run
from .record import (
    ENDING,
    RunRecord,
    load_config,
    only_run,
    read_ending,
    record_of_table,
    record_run,
    record_table,
    science,
    versions_of,
    write_ending,
)

__all__ = ["RunEntry", "diff_runs", "list_runs", "read_run"]
