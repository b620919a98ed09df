"""PURE. The rules of content: what `viplake content` found inside the files of an Hour (see `content_verdicts`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viplake.judge.rules import content_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from viplake.judge.rules.content_verdicts import ContentVerdict, Inside
    from viplake.judge.rules.rule import Case, Results, RuleConfig, RuleResult


def by_verdict(
    verdict: Callable[[Inside, Mapping[str, float]], ContentVerdict],
) -> Callable[[Case, RuleConfig, Results], Iterator[RuleResult]]:
    """The rule that judges the content of an Hour by this verdict."""

    def judge(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
        odd = verdict(case.content, config.limits)
        if isinstance(odd, str):
            yield results.no_data(odd)
            return
        for one in odd:
            yield results.breach(one.summary, case.sender, table=one.table)
        if not odd:
            yield results.passed()

    return judge


lookback_change = by_verdict(lambda inside, limits: content_verdicts.look_back_changes(inside, limits["percent"]))
nonconforming_content = by_verdict(lambda inside, _: content_verdicts.nonconforming(inside))
row_count = by_verdict(lambda inside, _: content_verdicts.row_counts(inside))
null_ratio = by_verdict(lambda inside, limits: content_verdicts.null_ratios(inside, limits["points"]))
stale_table = by_verdict(lambda inside, limits: content_verdicts.stale(inside, limits["hours"]))
