"""Policies: what an event must satisfy beyond being well formed and published by somebody who may. One file per kind, `registry.py` lists them."""

from agents.policies.base import Case, Verdict
from agents.policies.judging import Judgement, Policies

__all__ = ["Case", "Judgement", "Policies", "Verdict"]
