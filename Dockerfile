# syntax=docker/dockerfile:1
#
#   docker build --tag distcache-server .
#   docker run --publish 6379:6379 --volume distcache:/data distcache-server
#
# Directives follow the image's name: `... distcache-server --requirepass secret --maxmemory 1gb`. A
# configuration file comes first, mounted into the container: `... distcache-server /etc/my.conf`. They
# take the place of `--protected-mode no` below: where there is no password, repeat it.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY replication replication
# The wheel, and those of everything that it needs, so that the second stage downloads nothing.
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[postgres,kafka]"

FROM python:${PYTHON}-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "distcache-server[postgres,kafka]" \
    && useradd --system --user-group --uid 10001 --home-dir /data --shell /usr/sbin/nologin distcache \
    && install --directory --owner distcache --group distcache --mode 0750 /data

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 6379
ENV PYTHONUNBUFFERED=1

# Alive is whoever answers, were it -NOAUTH. Another port than 6379 needs a check of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-c", "import socket, sys; s = socket.create_connection(('127.0.0.1', 6379), 2); s.sendall(b'PING\\r\\n'); sys.exit(s.recv(1) not in (b'+', b'-'))"]

ENTRYPOINT ["distcache-server"]
# Protected mode refuses everybody but loopback as long as there is no password, and nobody outside
# the container is loopback. Who may reach the port is decided by how it is published.
CMD ["--protected-mode", "no"]
