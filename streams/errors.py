"""Every error that SyncMaster raises on purpose, as one tree, split by what the caller does next.

SyncMasterError
├── ConfigError            the file or the environment is wrong: stop, tell the operator where and how to mend it
├── Refusal                a producer's or a caller's input is wrong: tell them why, keep the bytes, go on
│   ├── Malformed          it cannot be decoded, or is not valid: quarantine
│   └── NotAllowed         it is understood and not allowed: refuse
├── Rejected               a component said no for good: the pair is `failed` until its desired generation changes
├── Retriable              the other side is away or busy: wait and try again
│   └── Away               for everything that is meant for it, not for this one thing only: nobody else need try
└── Fatal                  going on could lose or double something: stop this unit, start again from what is durable
    ├── Fenced             another owner has the partition or the stream now: let go at once
    └── Gap                sequences are missing that nobody explained: stop that stream, alert
"""

from __future__ import annotations


class SyncMasterError(Exception):
    """Base of all of them. The message is for operators and ends with their next step."""


class ConfigError(SyncMasterError):
    """The configuration cannot be used. The message names file, line and the mend."""


class Refusal(SyncMasterError):
    """Input that is not taken. `code` is stable and machine readable, e.g. `version.missing`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Malformed(Refusal):
    """The bytes are not an event: not decodable or not valid. The original goes to quarantine."""


class NotAllowed(Refusal):
    """A well-formed event that its principal may not publish, or that a policy refuses."""


class Rejected(SyncMasterError):
    """A component's permanent answer to a delivery."""


class Retriable(SyncMasterError):
    """The other side is away or busy. `retry_after_s` is its own wish, if it told one."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Away(Retriable):
    """The other side cannot be reached, does not answer, or has too much to do: whatever else is meant for it waits too."""


class Fatal(SyncMasterError):
    """Going on could lose or double something. Start again from what is durable."""


class Fenced(Fatal):
    """Another owner has taken over. Nothing more may be written."""


class Gap(Fatal):
    """A stream or a topic misses positions that were promised to be there."""
