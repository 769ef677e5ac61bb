# The base is an argument, so that it can be pinned by digest or taken from a mirror: --build-arg BASE=…
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS wheel
WORKDIR /src
COPY . .
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

# The wheel goes into an environment of its own, which is all that the last stage takes over.
FROM ${BASE} AS venv
COPY --from=wheel /dist /dist
RUN python3 -m venv /opt/dolt_watch \
    && /opt/dolt_watch/bin/python -m pip install --no-cache-dir --no-compile /dist/*.whl \
    && /opt/dolt_watch/bin/python -m pip uninstall --yes pip \
    && /opt/dolt_watch/bin/python -m compileall -q /opt/dolt_watch

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dolt_watch" \
      org.opencontainers.image.description="Hands beads to AI agents, and says so in Dolt's own history" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=venv /opt/dolt_watch /opt/dolt_watch
# The root filesystem may be read-only, so no bytecode is written at run time (it was compiled above).
ENV PATH=/opt/dolt_watch/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number: Kubernetes' runAsNonRoot can only judge a number.
USER 10001:10001
WORKDIR /workspace
ENTRYPOINT ["dolt_watch"]
