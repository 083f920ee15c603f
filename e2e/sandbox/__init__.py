"""
The embedded world: real Kubernetes, KServe, Envoy, Prometheus and Git as plain processes.

No containers and no privileges. `python -m sandbox up` starts a world and `down` ends it.
"""
