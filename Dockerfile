# The container image of the service. docs/deployment.md tells how to build it and run it.
ARG BASE=python:3.13-slim-trixie


FROM ${BASE} AS builder

# pip and the SBOM's tool, in an environment that stays behind.
WORKDIR /build
COPY deploy/requirements-sbom.txt ./
RUN python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --only-binary=:all: -r requirements-sbom.txt

# What production needs, from wheels alone: no compiler. Without what wheels have beside it: tests, and source text for
# compilers and type checkers.
COPY requirements.txt ./
RUN python3 -m venv --without-pip /venv \
    && /tools/bin/pip --python /venv/bin/python install --no-cache-dir --only-binary=:all: -r requirements.txt \
    && find /venv -type d \( -name tests -o -name testing \) -prune -exec rm -r {} + \
    && find /venv -type f -regex '.*\.\(c\|h\|cpp\|hpp\|pyx\|pxd\|pyi\)' -delete

WORKDIR /app
RUN /tools/bin/cyclonedx-py environment --output-reproducible --output-file sbom.cdx.json /venv/bin/python

# Readable by every user, whatever the umask of the checkout, and compiled, since the service may not write here.
COPY LICENSE alembic.ini gunicorn.conf.py wsgi.py deploy/healthcheck.py ./
COPY alembic ./alembic
COPY sql ./sql
COPY taskapi ./taskapi
RUN chmod -R u=rwX,go=rX /app \
    && /venv/bin/python -m compileall -q /app


FROM ${BASE}
ARG BASE

LABEL org.opencontainers.image.title="taskapi" \
      org.opencontainers.image.description="The backend of a task manager: a REST API with a complete, append-only history" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}"

# Two workers: a container sees all cores of its machine, however few it may use.
ENV PATH="/venv/bin:${PATH}" \
    APP_ENV=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    WEB_CONCURRENCY=2

WORKDIR /app
COPY --from=builder /venv /venv
COPY --from=builder /app /app

# A number, so that Kubernetes can tell that it is not root. It owns no file.
USER 10001:10001

EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "healthcheck.py"]

# gunicorn is the first process: it hears the signals, and waits for all processes that have ended.
CMD ["gunicorn", "wsgi:app"]
