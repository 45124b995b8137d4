"""The steps of a deploy, a rollback and a removal on one host; `dispatch` runs the one asked for."""
