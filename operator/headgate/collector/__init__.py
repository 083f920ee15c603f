"""The collector: counts what models are asked and what they answer, and keeps none of it.

The way of one event: `server` answers its sender; later `intake` asks `profiles` by which bins it
is counted, `bodies` what it holds, and `counting` adds it up; `exposition` shows the sums. It
shares no state with the operator, which reads the sums from Prometheus like everybody else.
"""
