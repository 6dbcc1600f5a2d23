# Doorito's image: `docker build --build-arg REVISION=$(git rev-parse HEAD) -t doorito .`
# What a container of it does is its first argument: see docker-entrypoint.sh.

# --- What is installed, by the lock alone: wheels with known hashes, nothing compiled, nothing else.
FROM docker.io/library/python:3.12-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/
RUN /opt/venv/bin/pip install --require-hashes --only-binary=:all: --requirement /tmp/requirements.txt

# --- The image
FROM docker.io/library/python:3.12-slim
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 doorito \
    && useradd --uid 10001 --gid doorito --no-create-home --home-dir /var/lib/doorito --shell /usr/sbin/nologin doorito \
    && install -d -o doorito -g doorito -m 0750 /var/lib/doorito \
    && printf '#!/bin/sh\nexec /app/docker-entrypoint.sh doorito "$@"\n' >/usr/local/bin/doorito \
    && chmod +x /usr/local/bin/doorito
COPY --from=packages /opt/venv /opt/venv
COPY . /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DJANGO_CONFIGURATION=Production \
    DOORITO_DATA_DIR=/var/lib/doorito \
    DOORITO_STATIC_DIR=/opt/static \
    WEB_HOST=0.0.0.0 \
    WEB_PORT=8000
# The program and its static files belong to root: what runs here can change neither.
RUN DJANGO_SECRET_KEY=unused python -m boot prepare --static-only \
    && python -m compileall -q /app
ARG REVISION
LABEL org.opencontainers.image.title="Doorito" \
      org.opencontainers.image.description="Self-hosted file ingest portal: the front door for files on their way to AI" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="BUSL-1.1"
USER doorito
VOLUME /var/lib/doorito
EXPOSE 8000
# Of the role `web`; the compose file has those of the others.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["/app/docker-entrypoint.sh", "healthy"]
ENTRYPOINT ["tini", "--", "/app/docker-entrypoint.sh"]
CMD ["web"]
