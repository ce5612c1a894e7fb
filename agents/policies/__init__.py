"""Policies: what an event must satisfy beyond being well formed and published by somebody who may. One file per kind, `registry.py` lists them."""

from agents.policies.base import Case, Verdict
from agents.policies.judging import FINE, POLICY_FAILED, Compiled, Judgement, Policies, judge

__all__ = ["FINE", "POLICY_FAILED", "Case", "Compiled", "Judgement", "Policies", "Verdict", "judge"]
