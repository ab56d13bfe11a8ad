"""A run is carried out by the process that was asked for it, as long as it has few.

Its reader is there, so its events reach the reader without Redis. Each process has a queue of its
own beside the common one. What a process leaves in its queue when it dies is put into the common
one by Aegra's reaper, as whatever a worker does not begin within seconds.
"""

import asyncio
from typing import Any

import structlog
from aegra_api.core.redis_manager import redis_manager
from aegra_api.services.worker_executor import WorkerExecutor
from aegra_api.settings import settings
from redis import RedisError

log = structlog.stdlib.get_logger(__name__)

_KEPT_SECONDS = 60  # by then the reaper has found what is left


def apply() -> None:
    """Has Aegra's workers take runs from both queues."""
    submit = WorkerExecutor.submit

    async def submit_here(self: Any, job: Any) -> None:
        if not self._running or len(self._job_tasks) >= settings.worker.N_JOBS_PER_WORKER:
            await submit(self, job)
            return
        pipeline, queue = redis_manager.get_client().pipeline(transaction=False), _own_queue(self)
        pipeline.rpush(queue, job.identity.run_id)
        pipeline.expire(queue, _KEPT_SECONDS)
        await pipeline.execute()

    async def dequeue(self: Any) -> Any:
        worker = settings.worker
        queues = [_own_queue(self), worker.WORKER_QUEUE_KEY]
        try:
            client = redis_manager.get_blocking_client()
            popped = await client.blpop(queues, timeout=worker.BLPOP_TIMEOUT_SECONDS)
        except RedisError as error:  # it may have popped a run whose id never arrived
            await log.awarning(f"The queue is away: {type(error).__name__}")
            await asyncio.sleep(worker.POSTGRES_POLL_INTERVAL_SECONDS)
            return await self._poll_postgres()
        return popped[1] if popped else None

    WorkerExecutor.submit = submit_here
    WorkerExecutor._dequeue = dequeue


def _own_queue(executor: Any) -> str:
    return f"{settings.worker.WORKER_QUEUE_KEY}:{executor._instance_id}"
