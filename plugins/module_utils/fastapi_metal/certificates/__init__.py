"""Certificates of an authority: what asks for them runs by Ansible and by a timer of the machine."""
