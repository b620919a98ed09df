"""PURE. The rules of content: what `viplake content` found inside the files of an Hour (see `content_verdicts`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viplake.judge.rules import content_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from viplake.judge.rules.content_verdicts import CheckedContent, ContentVerdict
    from viplake.judge.rules.rule import Case, Results, RuleConfig, RuleResult


def by_verdict(
    verdict: Callable[[CheckedContent, Mapping[str, float]], ContentVerdict],
) -> Callable[[Case, RuleConfig, Results], Iterator[RuleResult]]:
    """The rule that judges the content of an Hour by this verdict."""

    def judge(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
        odd = verdict(case.content, config.limits)
        if isinstance(odd, str):
            yield results.no_data(odd)
            return
        for one in odd:
            more: dict[str, Any] = {"urgent": True} if one.urgent else {}
            yield results.breach(one.summary, one.attribution or case.sender, table=one.table, **more)
        if not odd:
            yield results.passed()

    return judge


lookback_change = by_verdict(lambda checked, limits: content_verdicts.look_back_changes(checked, limits["percent"]))
nonconforming_content = by_verdict(lambda checked, _: content_verdicts.nonconforming(checked))
row_count = by_verdict(lambda checked, _: content_verdicts.row_counts(checked))
null_ratio = by_verdict(lambda checked, limits: content_verdicts.null_ratios(checked, limits["points"]))
stale_table = by_verdict(lambda checked, limits: content_verdicts.stale(checked, limits["hours"]))
