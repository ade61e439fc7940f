"""The component: what Hydrant calls, around `tag`, which knows nothing of it.

Always true: each record has exactly one outcome, in order; what is wrong with a record harms that record alone.
"""

import json

import wit_world
from componentize_py_types import Err
from tag import Tag
from wit_world.imports.types import Input, Outcome, Outcome_Dropped, Outcome_Ok, Outcome_ProcessingFailed, Output


# Each call may meet another `WitWorld`: what `init` makes is kept here.
the_tag: Tag


class WitWorld(wit_world.WitWorld):
    def init(self, config: str) -> None:
        """Called once, with the step's `config` as JSON."""
        global the_tag
        try:
            the_tag = Tag(json.loads(config))
        except ValueError as error:
            raise Err(str(error)) from error

    def transform(self, records: list[Input]) -> list[Outcome]:
        """Called with each batch."""
        return [self.outcome(record) for record in records]

    def outcome(self, record: Input) -> Outcome:
        try:
            data = the_tag.apply(record.data)
        except (ValueError, RecursionError) as error:
            return Outcome_ProcessingFailed(str(error))
        return Outcome_Dropped() if data is None else Outcome_Ok(Output(data, []))
