"""The dictionary `apps` of users: its options, what can be wrong with it. Controller, but `hostnames`."""
