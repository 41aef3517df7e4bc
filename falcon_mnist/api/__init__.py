"""One HTTP request from bytes to answer."""
