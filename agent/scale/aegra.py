"""What of Aegra is replaced or used under private names: checked before the server starts.

Each of these holds a guarantee (one worker a run, every event once, a user's limits): with another
Aegra the server does not start, rather than go without.
"""

import importlib
import inspect
from importlib.metadata import version
from typing import Any

RELEASE = "0.11.0"
_SERVICES = "aegra_api.services"
# by module: the functions, with the names of their parameters
SHAPES: dict[str, dict[str, str]] = {
    f"{_SERVICES}.redis_broker": {
        "_serialize_payload": "payload",
        "_serializer": "",
        "RedisBrokerManager._make_broker": "self run_id",
        "RedisBrokerManager.allocate_event_id": "self run_id",
    },
    f"{_SERVICES}.worker_executor": {
        "WorkerExecutor._execute_with_lease": "self run_id worker_name",
        "WorkerExecutor._worker_loop": "self worker_name",
        "WorkerExecutor._execute_and_release": "self run_id worker_name semaphore",
        "WorkerExecutor.submit": "self job",
        "_LoadedRun": "job trace",
        "_acquire_and_load": "run_id worker_name",
        "_release_lease": "run_id worker_name",
        "_heartbeat_loop": "run_id worker_name job_task",
        "execute_run": "job",
    },
    f"{_SERVICES}.run_preparation": {
        "_extract_thread_name": "input_data",
        "_merge_jsonb": "objects",
        "_prepare_run": "session thread_id request user initial_status event_streaming_v2",
        "_resolve_checkpoint": "request",
        "_resolve_durability": "request",
        "_validate_resume_command": "session thread_id command",
    },
    f"{_SERVICES}.run_executor": {
        "start_run": "run_id user_id",
        "finalize_run": "",
        "_lease_loss_cancellations": "",
        "_shutdown_cancellations": "",
        "stream_graph_events": "",
        "stream_native_v3_events": "",
        "_stream_legacy": "job graph execution_input run_config stream_modes result",
        "_stream_native_v2": "job graph execution_input run_config result",
    },
    f"{_SERVICES}.run_status": {
        "_safe_serialize": "output run_id",
    },
    f"{_SERVICES}.assistant_service": {"_extract_graph_schemas": "graph"},
    f"{_SERVICES}.cron_scheduler": {"_prepare_run": ""},
    f"{_SERVICES}.event_streaming.commands": {"_prepare_run": ""},
    "aegra_api.api.crons": {"_prepare_run": ""},
    "aegra_api.api.runs": {
        "_apply_create_run_auth": "user thread_id request",
        "_prepare_run": "session thread_id request user initial_status event_streaming_v2",
    },
    "aegra_api.api.threads": {"_get_thread_graph_id": "thread_id user"},
    "aegra_api.api.stateless_runs": {"create_and_stream_run": "thread_id request user"},
    "aegra_api.core.orm": {"_strip_null_bytes": "value _depth"},
    "aegra_api.core.database": {
        "AsyncPostgresSaver": "",
        "AsyncConnectionPool": "",
        "create_async_engine": "",
    },
    f"{_SERVICES}.streaming_service": {
        "StreamingService.stream_run_execution": "self run last_event_id",
        "StreamingService._convert_raw_to_sse": "self event_id raw_event",
        "StreamingService.put_to_broker": "self run_id event_id raw_event",
    },
}


def check() -> None:
    """Raises SystemExit, with what to install, if this Aegra is not the one that is built on."""
    reasons = [reason for path, names in SHAPES.items() for reason in mismatches(path, names)]
    if (installed := version("aegra-api")) != RELEASE:
        reasons.insert(0, f"aegra-api is {installed}")
    if reasons:
        raise SystemExit(
            f"This Aegra is another one than {RELEASE}, which agent/scale is written for "
            f"({'; '.join(reasons)}): install aegra-api=={RELEASE}, as `make scale-install` does."
        )


def mismatches(path: str, names: dict[str, str]) -> list[str]:
    """How a module differs from these names and parameters."""
    try:
        module: Any = importlib.import_module(path)
    except ImportError:
        return [f"there is no {path}"]
    reasons = []
    for name, parameters in names.items():
        value = module
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is None:
            reasons.append(f"{path} has no {name}")
        elif parameters and " ".join(inspect.signature(value).parameters) != parameters:
            reasons.append(f"{name} takes other parameters")
    return reasons
