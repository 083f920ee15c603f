"""Drift: what inputs and predictions looked like in training, and whether they still do.

Owns reference profiles, the bins values fall into, and the comparison of live counts with a
reference. Must not know where counts come from, nor what a drift costs a rollout.
"""
