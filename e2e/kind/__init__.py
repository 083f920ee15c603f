"""
A cluster in containers for the scenarios: kind, KServe, Envoy Gateway, Prometheus and our chart.

`python -m kind up` brings it up, `down` takes it away, `check` says what this machine lacks.
"""
