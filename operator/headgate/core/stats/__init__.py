"""Tests that may be looked at as often as one likes.

Owns e-values, their mixtures and the sizes that go with them. Must not know a Kubernetes, SLO or
model word, nor where counts come from.
"""
