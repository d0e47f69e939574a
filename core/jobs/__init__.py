"""Work units: atomic files, shards, executors, progress, and the processes, threads and GPUs of each.

A unit is a piece of work that writes its result under a temporary name, checks it and renames it into place.
Resuming, crash safety, sharding and concurrent runs all follow from that one rule.
"""

from .backend import (
    gpu_memory,
    gpus_have_bfloat16,
    hushed_start,
    named_backend,
    prepare_backend,
    prepare_torch,
    visible_gpus,
)
from .computation import Computation, Computed, compute, compute_all
from .executor import in_threads, map_ahead, run_units
from .geojson import geojson_feature, joined_boxes, write_features
from .locks import in_turn
from .packs import (
    atomic_output,
    changed_meanwhile,
    check_file_name,
    check_output,
    claim_space,
    ensure_folder,
    is_set_aside,
    json_text,
    key_of,
    named_files,
    read_pack,
    reading,
    refuse_among,
    refuse_overwriting,
    remove_leftovers,
    remove_output,
    remove_tree,
    save_arrays,
    set_aside,
    write_json,
    write_or_remove,
    write_pack,
    write_rows,
)
from .processes import (
    hold_interrupts,
    hush_readers,
    is_interrupt,
    is_running,
    prepare_worker,
    scratch_folder,
    this_process,
    use_scratch,
    when_orphaned,
)
from .progress import Progress, Ticker, format_seconds, rough_duration
from .resources import (
    GPU_SECONDS,
    THREADS,
    Resources,
    cpu_resources,
    default_jobs,
    network_resources,
    one_thread_of_opencv,
)
from .work import NOTHING_NEW, Shard, Share, UnderWayError, Work

__all__ = ["Shard", "UnderWayError", "Work"]
