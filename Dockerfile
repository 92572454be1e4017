# One image for one proxy: `docker build -t connected-content-proxy .`; with what it holds, `--sbom=true` (buildx).
FROM python:3.11-slim AS build
# gunicorn's C parser comes as source.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
RUN python -m venv /opt/proxy && /opt/proxy/bin/pip install --no-cache-dir '.[redis,preview]'

FROM python:3.11-slim
# Where the store's file lies; a volume there outlives the container.
RUN useradd --system --no-create-home --uid 10001 proxy && \
    install -d -m 700 -o proxy -g proxy /var/lib/connected-content-proxy
COPY --from=build /opt/proxy /opt/proxy
WORKDIR /app
COPY wsgi.py gunicorn.conf.py ./
ENV PATH=/opt/proxy/bin:$PATH \
    CACHE_URL=sqlite:////var/lib/connected-content-proxy/proxy.sqlite3
VOLUME /var/lib/connected-content-proxy
# The number: Kubernetes can't tell from a name that it is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/healthz', timeout=2)"]
CMD ["python", "-m", "proxy"]
