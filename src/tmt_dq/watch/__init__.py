"""Ramps as they arrive in a folder: each is initialized when it is complete.

Names are imported when they are first used: `tmt-dq --help` and the workers load no more than they
need.
"""
