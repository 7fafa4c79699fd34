"""How large a compiled pipeline becomes on a cluster, and how large it may be."""
