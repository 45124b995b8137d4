"""The dictionary `apps` as users write it: its options, and what can be wrong with it. Controller only."""
