"""The WSGI application under waitress, with limits that fit it.

Here live the listeners, their connections, the parser and its limits, the threads that answer, and the life of a
server process. May import `api` and what is below it; knows no route, no row and no kernel. Classes of waitress are
extended here and handed to it; none is changed from outside.
"""
