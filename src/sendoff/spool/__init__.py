"""
The spool: accepted events on disk, from the call to their fate.
"""
