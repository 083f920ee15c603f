"""Headgate: the gate between Git HEAD and production traffic for models."""

__version__ = "0.1.0"
