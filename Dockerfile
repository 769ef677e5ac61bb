# The base is an argument, so that whoever publishes the image pins it by digest, or takes it from a mirror: --build-arg BASE=…
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all:
WORKDIR /src
COPY . .
# An environment of its own, without pip, is all that the image takes over. Wheels only: nothing is compiled, so nothing needs a compiler.
# With what `dolt_watch run` and Job templates need: one image serves the CronJobs and the service.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip wheel --no-deps --wheel-dir /dist . \
    && python3 -m venv --without-pip /opt/dolt_watch \
    && /opt/build/bin/python -m pip --python /opt/dolt_watch/bin/python install --no-compile "$(echo /dist/*.whl)[service,kubernetes]" \
    && /opt/dolt_watch/bin/python -m compileall -q /opt/dolt_watch

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dolt_watch" \
      org.opencontainers.image.description="Hands beads to AI agents, and says so in Dolt's own history" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/dolt_watch /opt/dolt_watch
# The root filesystem may be read-only, so no bytecode is written at run time (it was compiled above).
ENV PATH=/opt/dolt_watch/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Before USER, so that it is root's and cannot be written.
WORKDIR /workspace
# By number: Kubernetes' runAsNonRoot can only judge a number.
USER 10001:10001
ENTRYPOINT ["dolt_watch"]
