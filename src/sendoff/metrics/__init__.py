"""
A dispatcher's figures for those who collect figures: `prometheus` and `opentelemetry`, one module
each, over one table of `names`.

Nothing here does anything for an event: `stats()` is read when somebody collects. A module imports
its library only when it is imported itself.
"""
