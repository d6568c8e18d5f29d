"""`[evaluation]`: which plays and users judge the models."""

from pydantic import Field

from nightreel.core.settings.section import Section


class EvaluationSettings(Section):
    """Holdout, backtest, and who is measured."""

    holdout_days: int = Field(
        default=2, description="Last days of the interactions kept for early stopping and the holdout.", ge=1
    )
    backtest_days: int = Field(
        default=3,
        description="Last days of the interactions whose lists are made as they would have been published, "
        "and judged by what was played on that day (protocol `next_day`); the holdout covers them.",
        ge=1,
    )
    tuning_share: float = Field(
        default=0.2,
        description="Share of the evaluated users, by hash, who choose the blend; figures are of the others.",
        ge=0,
        lt=1,
    )
