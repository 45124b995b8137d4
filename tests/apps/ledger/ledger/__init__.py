"""A small application with a schema, a worker and a job, for the tests of commands, processes and timers."""
