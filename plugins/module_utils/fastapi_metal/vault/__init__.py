"""The secrets of an inventory: which it needs, and the encrypted file in which they lie. Controller alone."""
