"""Which products are like another one: the large object that every worker needs and none changes."""
