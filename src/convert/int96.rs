//! Timestamps as INT96, which Arrow's writer does not write: kept until the row group is closed, then written as they are.

use parquet::data_type::Int96;

use super::column::{Column, Values};

const DAY_MICROS: i64 = 86_400_000_000;
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

/// A leaf's values of one row group, with Parquet's definition and repetition levels.
#[derive(Debug, Default)]
pub(super) struct Int96Values {
    pub(super) values: Vec<Int96>,
    pub(super) definitions: Vec<i16>,
    pub(super) repetitions: Vec<i16>,
}

impl Int96Values {
    /// Appends all rows of `column`; `way` leads from it to the leaf.
    pub(super) fn append(&mut self, column: &Column, way: &[usize]) {
        for row in 0..column.len() {
            self.value(column, way, row, Level { definition: 0, repetition: 0, depth: 0, is_required: false });
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.values.capacity() * size_of::<Int96>()
            + (self.definitions.capacity() + self.repetitions.capacity()) * size_of::<i16>()
    }

    fn value(&mut self, column: &Column, way: &[usize], index: usize, level: Level) {
        if !column.validity.is_valid(index) {
            return self.nothing(level);
        }
        let here = if level.is_required { level } else { Level { definition: level.definition + 1, ..level } };
        let (next, way) = way.split_first().map_or((0, way), |(next, way)| (*next, way));
        match &column.values {
            Values::Long(values) => {
                self.values.extend(values.get(index).map(|&micros| int96(micros)));
                self.nothing(here);
            }
            Values::Struct(_, fields) => {
                if let Some(field) = fields.get(next) {
                    self.value(field, way, index, Level { is_required: false, ..here });
                }
            }
            Values::List(offsets, items) => self.repeated(items, way, &offsets.0, index, here, false),
            Values::Map(offsets, entries) => {
                let part = if next == 0 { &entries.0 } else { &entries.1 };
                self.repeated(part, way, &offsets.0, index, here, next == 0);
            }
            // A way leads to a timestamp.
            Values::Boolean(_)
            | Values::Int(_)
            | Values::Float(_)
            | Values::Double(_)
            | Values::Decimal(_)
            | Values::Text(_) => {}
        }
    }

    fn repeated(
        &mut self,
        items: &Column,
        way: &[usize],
        offsets: &[i32],
        index: usize,
        level: Level,
        is_required: bool,
    ) {
        let Some([start, end]) = offsets.get(index..index + 2).and_then(|ends| ends.first_chunk()) else { return };
        if start == end {
            return self.nothing(level);
        }
        let depth = level.depth + 1;
        for item in *start..*end {
            let repetition = if item == *start { level.repetition } else { depth };
            let level = Level { definition: level.definition + 1, repetition, depth, is_required };
            self.value(items, way, item as usize, level);
        }
    }

    fn nothing(&mut self, level: Level) {
        self.definitions.push(level.definition);
        self.repetitions.push(level.repetition);
    }
}

/// How much of the way to a value is there.
#[derive(Clone, Copy)]
struct Level {
    definition: i16,
    repetition: i16,
    /// Repeated levels on the way so far.
    depth: i16,
    /// What stands here has no level of its own.
    is_required: bool,
}

/// Nanoseconds of the day, then the Julian day.
fn int96(micros: i64) -> Int96 {
    let nanos = micros.rem_euclid(DAY_MICROS) * 1000;
    let day = micros.div_euclid(DAY_MICROS) + JULIAN_DAY_OF_EPOCH;
    let mut value = Int96::new();
    value.set_data(nanos as u32, (nanos >> 32) as u32, day as u32);
    value
}
