"""The Git write-back: a process of its own that makes Git say what serves after a rollback.

It has its own login and rules. It reads the operator's records and never writes anything of its;
what it did is remembered in ConfigMaps in its own namespace and, by trailers, in Git itself.
"""
