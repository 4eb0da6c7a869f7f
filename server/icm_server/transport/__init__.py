"""Connections: the socket, the HTTP/1.1 protocol, and their limits."""
