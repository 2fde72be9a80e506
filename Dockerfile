# syntax=docker/dockerfile:1
# Image of the planespotter server.
#
#   docker build -t planespotter .
#   docker run -p 127.0.0.1:50051:50051 -v "$PWD/demo/model:/model:ro" planespotter serve --model /model --insecure
#
# For a GPU: docker build --build-arg DEVICE=cuda13 -t planespotter:cuda13 . and docker run --gpus all ...
# DEVICE is an extra of JAX: cpu, cuda12, cuda13.

# A tag moves. For a reproducible image, add the digest of the base that you have checked:
# docker build --build-arg PYTHON=3.13-slim-trixie@sha256:DIGEST
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ARG DEVICE=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/source/constraints.txt
WORKDIR /source
RUN python -m venv /opt/planespotter
# The dependencies first: a change of the sources below reuses this layer, which has most of the image's size.
COPY constraints.txt pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], *project['optional-dependencies']['server'], sep='\n')" > /requirements.txt \
    && /opt/planespotter/bin/pip install --requirement /requirements.txt "jax[${DEVICE}]"
COPY README.md LICENSE ./
COPY protos protos
COPY photos photos
COPY scraping scraping
COPY training training
COPY models models
COPY server server
COPY bulk bulk
COPY client client
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/planespotter/bin/pip install --no-deps /wheels/planespotter-*.whl \
    && /opt/planespotter/bin/pip check \
    && /opt/planespotter/bin/pip uninstall --yes pip

FROM python:${PYTHON}
ARG DEVICE=cpu
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="planespotter" \
      org.opencontainers.image.description="Classifies the aircraft in a photo over gRPC: constructor, family, model." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      planespotter.device="${DEVICE}"
RUN groupadd --gid 65532 planespotter \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin planespotter
COPY --from=build /opt/planespotter /opt/planespotter
# The server writes to /tmp only: the root file system can be read-only. Two allocation arenas, because memory that many
# threads have freed in separate arenas would not go back to the system.
ENV PATH=/opt/planespotter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    PLANESPOTTER_HOST=0.0.0.0 \
    PLANESPOTTER_PORT=50051
USER 65532:65532
EXPOSE 50051
# SIGTERM drains the server, then it exits. It runs as PID 1 and starts no other process.
STOPSIGNAL SIGTERM
# With TLS: docker run --health-cmd 'planespotter health --tls-ca FILE --tls-name NAME', NAME from the certificate.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --start-interval=2s --retries=3 \
    CMD ["planespotter", "health", "--server", "127.0.0.1:50051"]
ENTRYPOINT ["planespotter"]
# It listens on all interfaces, so it starts only with --tls-cert and --tls-key, or with --insecure.
CMD ["serve", "--model", "/model"]
