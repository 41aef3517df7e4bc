"""The endpoints by subject. Each responder reads a request, asks the service, and writes the answer.

May import: api's other modules, inference, storage, runs, training. Holds no SQL, no files, no computing.
"""
