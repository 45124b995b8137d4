#!/bin/sh
# The machines of a lab as Ansible's inventory: the demo's, or those of the lab that LAB_NAME says.
here=$(dirname "$(readlink -f "$0")")
# Molecule asks before it has created them, and has listed them in an inventory of its own directory before.
exec "$here/../../bin/lab" inventory "${LAB_NAME:-demo}" ${MOLECULE_FILE:+--if-up} --directory "$here" "$@"
