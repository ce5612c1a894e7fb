"""Relations between glob patterns (`*` matches any run of characters, all else is literal). Matching itself: `settings.glob`."""

from __future__ import annotations

from itertools import accumulate


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns. Quadratic in their lengths, without backtracking.

    `reach[j]` says whether some text is matched by the first i characters of `one` and the first j of `other`. A star may stand
    for nothing, or take one more character or star of the other side.
    """
    reach = [True, *accumulate((char == "*" for char in other), lambda before, star: before and star)]
    for char in one:
        before, reach = reach, [reach[0] and char == "*"]
        for index, facing in enumerate(other):
            if char == "*" or facing == "*":
                reach.append(before[index + 1] or reach[index])
            else:
                reach.append(before[index] and char == facing)
    return reach[-1]
