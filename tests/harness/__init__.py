"""What the tests and the long trials share: a real server, its clients, a browser, memory, files; imports neither."""
