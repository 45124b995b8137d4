"""The lab: Debian machines booted by systemd-nspawn on a private bridge, with DNS and an ACME server."""
