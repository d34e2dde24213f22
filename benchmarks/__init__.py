"""
Measurements of sendoff; each module runs by itself: ``python -m benchmarks.NAME``.
"""
