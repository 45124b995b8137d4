#!/bin/sh
# The machines of a lab as Ansible's inventory: the demo's, or those of the lab that LAB_NAME says.
# Molecule asks before it has created them.
exec "$(dirname "$(readlink -f "$0")")/../../bin/lab" inventory "${LAB_NAME:-demo}" ${MOLECULE_FILE:+--if-up} "$@"
