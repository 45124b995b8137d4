"""An application's Python packages: installed by uv, taken over from a release, or sent as wheels."""
