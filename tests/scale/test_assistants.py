"""What is told of assistants: made once, not for each who asks."""

import httpx
import psutil

from tests.scale.cluster import Cluster, Process

ASKED = 30


def cpu_seconds(process: Process) -> float:
    assert process.process
    times = psutil.Process(process.process.pid).cpu_times()
    return times.user + times.system


async def test_schemas_are_made_once(cluster: Cluster) -> None:
    """A client's first run asks for them: they cost little more than the assistant itself."""
    process = cluster.processes[0]
    async with httpx.AsyncClient(base_url=process.url, trust_env=False, timeout=60) as http:
        found = (await http.post("/assistants/search", json={"graph_id": "chat"})).json()
        place = f"/assistants/{found[0]['assistant_id']}"
        schemas = (await http.get(f"{place}/schemas")).json()
        assert "messages" in schemas["input_schema"]["properties"]
        costs = list[float]()
        for path in (place, f"{place}/schemas"):
            began = cpu_seconds(process)
            for _ in range(ASKED):
                (await http.get(path)).raise_for_status()
            costs.append(cpu_seconds(process) - began)
        assert (await http.get(f"{place}/schemas")).json() == schemas
    assert costs[1] < 4 * costs[0]
