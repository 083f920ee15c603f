"""Error budgets: what a service promised, how much of it is spent, and what that forbids.

Owns objectives over a rolling window, their burn rates, the gates and the limits on what a canary
may spend. Must not know where counts come from, nor how a rollout moves.
"""
