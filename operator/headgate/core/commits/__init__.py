"""Which commit an object comes from, as it and the tool that applied it tell.

Owns the reading of their words. Must not know how an object is read, nor what a commit is for.
"""
