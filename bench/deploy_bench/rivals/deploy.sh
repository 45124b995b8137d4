#!/bin/bash
# What one writes by hand: five steps over one SSH connection to each host, all hosts at once.
#   deploy.sh (deploy|rollback) SOURCE SSH_CONFIG STABLE HOST…
# STABLE: how many seconds the new instance must stay healthy before it gets the traffic.
set -euo pipefail
action=$1 source=$2 config=$3 stable=$4
shift 4

# What runs on the host; the tarball is its standard input.
# shellcheck disable=SC2016  # its variables are the host's
remote='
set -eu
action=$1 digest=$2 stable=$3
cd /srv/bench-shell
old=$(readlink current 2> /dev/null | xargs -r basename)

# healthy ID: wait until it answers, then see that it goes on answering.
healthy() {
  ask() { curl --silent --fail --max-time 2 --output /dev/null --unix-socket "releases/$1/app.sock" http://bench/health/ready; }
  tries=0
  until ask "$1"; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { echo "not healthy" >&2; exit 1; }
    sleep 0.05
  done
  end=$(($(date +%s%N) + stable * 1000000000))
  while [ "$(date +%s%N)" -lt "$end" ]; do
    sleep 0.2
    ask "$1"
  done
}

if [ "$action" = rollback ]; then
  new=$(cat previous)
else
  [ "$(cat current/digest 2> /dev/null || true)" != "$digest" ] || { echo unchanged; exit 0; }
  new=$(date -u +%Y%m%dT%H%M%S)-$(printf %.6s "$digest")
  mkdir -p "releases/$new/src"
  tar --extract --gzip --directory "releases/$new/src"
  uv venv --quiet --python /usr/bin/python3 "releases/$new/venv"
  uv pip install --quiet --compile-bytecode --require-hashes --python "releases/$new/venv/bin/python" \
    --requirements "releases/$new/src/requirements.txt"
  echo "$digest" > "releases/$new/digest"
  chown bench:www-data "releases/$new"
fi
systemctl start "bench-shell@$new"
healthy "$new"
ln --symbolic --no-dereference --force "releases/$new" .current
mv --no-target-directory .current current
if [ -n "$old" ] && [ "$old" != "$new" ]; then
  echo "$old" > previous
  systemctl stop "bench-shell@$old"
fi
'

tarball=$(mktemp)
trap 'rm -f "$tarball"' EXIT
tar --create --gzip --sort=name --mtime=@0 --owner=0 --group=0 --directory "$source" . > "$tarball"
digest=$(sha256sum < "$tarball" | cut -d' ' -f1)

jobs=()
for host; do
  ssh -F "$config" -o ControlPath=none "$host" "sudo sh -c '${remote//\'/\'\\\'\'}' - $action $digest $stable" < "$tarball" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
