"""Rollouts offline: traffic from parameters or a recording, and what each rule does with it.

Owns imitation: of traffic, of time, and of other projects' decision rules (`peers`). Must not know
a cluster, and must not decide anything for a real one.
"""
