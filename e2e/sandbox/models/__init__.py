"""Owns the models of the stories: how each version is trained, why it is as it is, its figures."""
