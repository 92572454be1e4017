"""How the proxy runs under gunicorn: its worker, its reload, its stop. For ``gunicorn.conf.py`` and ``wsgi.py``."""
