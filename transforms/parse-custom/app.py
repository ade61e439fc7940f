"""The component: what Hydrant calls, around `parse`, which knows nothing of it.

Always true: each record has exactly one outcome, in order; whatever is wrong with a record harms that record alone.
"""

import json

import wit_world
from componentize_py_types import Err
from parse import Malformed, Parser
from wit_world.imports.types import Input, Outcome, Outcome_Dropped, Outcome_Ok, Outcome_ProcessingFailed, Output


# Each call may meet another `WitWorld`: what `init` makes is kept here.
the_parser: Parser


class WitWorld(wit_world.WitWorld):
    def init(self, config: str) -> None:
        global the_parser
        try:
            the_parser = Parser(json.loads(config))
        except ValueError as error:
            raise Err(str(error)) from error

    def transform(self, records: list[Input]) -> list[Outcome]:
        return [self.outcome(record) for record in records]

    def outcome(self, record: Input) -> Outcome:
        try:
            event = the_parser.parse(record.data)
        except Malformed as error:
            return Outcome_ProcessingFailed(str(error))
        if event is None:
            return Outcome_Dropped()
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return Outcome_Ok(Output(data, [("device", event["device"])]))
