"""Bringing components to the desired generation. `base.py` is the seam; one file per kind of sink; `actor.py` supervises."""
