# One process of many (agent/scale/README.md). Keys and addresses come from the environment.
FROM python:3.13.9-slim-bookworm AS build

WORKDIR /build
RUN python -m venv /venv
COPY agent/scale/requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
COPY client client
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .


FROM python:3.13.9-slim-bookworm

# libgomp1 is for the embedded model; Debian keeps one version of it, the newest.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home steady
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1

USER 10001
WORKDIR /data
EXPOSE 2026
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 2026, timeout=4); c.request('GET', '/ok'); exit(c.getresponse().status != 200)"]
CMD ["uvicorn", "agent.scale.server:app", "--host", "0.0.0.0", "--port", "2026", "--timeout-graceful-shutdown", "3", "--ws-max-size", "4000000", "--ws-per-message-deflate", "false"]
