FROM python:3.11-slim
WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE wsgi.py gunicorn.conf.py ./
COPY proxy ./proxy
RUN pip install --no-cache-dir '.[redis,preview]' && useradd --system --no-create-home proxy
USER proxy
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\") or 8000}/readyz', timeout=2)"]
CMD ["gunicorn", "wsgi:app"]
