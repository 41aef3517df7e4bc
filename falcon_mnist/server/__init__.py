"""The WSGI application under waitress."""
