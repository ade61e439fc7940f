"""The component: what Hydrant calls, around `parse`, which knows nothing of it.

Always true: each record has exactly one outcome, in order; whatever is wrong with a record harms that record alone.
"""

import json

import wit_world
from componentize_py_types import Err
from parse import Malformed, Parser
from wit_world.imports.types import Input, Outcome, Outcome_Dropped, Outcome_Ok, Outcome_ProcessingFailed, Output


class WitWorld(wit_world.WitWorld):
    parser: Parser

    def init(self, config: str) -> None:
        try:
            self.parser = Parser(json.loads(config))
        except ValueError as error:
            raise Err(str(error)) from error

    def transform(self, records: list[Input]) -> list[Outcome]:
        return [self.outcome(record) for record in records]

    def outcome(self, record: Input) -> Outcome:
        try:
            event = self.parser.parse(record.data)
        except Malformed as error:
            return Outcome_ProcessingFailed(str(error))
        if event is None:
            return Outcome_Dropped()
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return Outcome_Ok(Output(data, [("device", event["device"])]))
