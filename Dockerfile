# One image for every process of syncsvc; docker-compose.yml says which runs what.
# `make images` writes PYTHON_IMAGE=python:3.13-slim@sha256:… to .env, and docker-compose.yml hands it on.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE}

# git takes in repositories, over ssh too; certificates are for https remotes and webhooks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 syncsvc \
    && useradd --system --uid 10001 --gid 10001 --create-home syncsvc \
    && install --directory --owner=syncsvc --group=syncsvc --mode=0700 \
        /var/lib/syncsvc /var/lib/syncsvc/mirrors /var/lib/syncsvc/spool

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings \
    MIRROR_DIR=/var/lib/syncsvc/mirrors

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY manage.py ./
COPY config ./config
COPY syncsvc ./syncsvc
COPY templates ./templates
COPY static ./static
RUN python -m compileall -q config syncsvc

USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "manage.py", "web", "--host=0.0.0.0", "--port=8000"]
