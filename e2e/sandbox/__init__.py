"""
The embedded world: real Kubernetes, KServe, Envoy, Prometheus and Git as plain processes.

No containers and no privileges. `python -m sandbox up` starts a world, `down` ends it; README.md and
docs/design tell what is real in it and what is ours.
"""
