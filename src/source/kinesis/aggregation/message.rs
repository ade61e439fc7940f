//! The protobuf of an aggregate (proto2), read where it lies.
//!
//! By its fields, not by prost's derived messages: those take 88 bytes for a record of two, take a message without its required
//! fields, and refuse what the KCL does not (keys that are not UTF-8, fields of another wire type).

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// An AggregatedRecord. No string, no data: only where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub partition_keys: Vec<Span>,
    pub explicit_hash_keys: Vec<Span>,
    pub records: Vec<Record>,
}

/// A Record. An index of a table is [`u32::MAX`] where it is larger, and so is none of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub partition_key: u32,
    pub explicit_hash_key: Option<u32>,
    pub data: Span,
}

/// Where bytes stand in the aggregate's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// Bytes that are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Message {
    pub fn read(data: &[u8], span: Span) -> Result<Self, Malformed> {
        let (mut fields, mut message) = (Fields::new(data, span), Self::default());
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(key)) => message.partition_keys.push(key),
                (2, Value::Bytes(key)) => message.explicit_hash_keys.push(key),
                (3, Value::Bytes(record)) => message.records.push(Record::read(data, record)?),
                (_, Value::Varint(_) | Value::Bytes(_) | Value::Other) => {}
            }
        }
        Ok(message)
    }
}

impl Record {
    fn read(data: &[u8], span: Span) -> Result<Self, Malformed> {
        let (mut partition_key, mut explicit_hash_key, mut content) = (None, None, None);
        let mut fields = Fields::new(data, span);
        // Where a field stands twice, the last one counts.
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(index)) => partition_key = Some(table_index(index)),
                (2, Value::Varint(index)) => explicit_hash_key = Some(table_index(index)),
                (3, Value::Bytes(bytes)) => content = Some(bytes),
                (4, Value::Bytes(tag)) => check_tag(data, tag)?,
                (_, Value::Varint(_) | Value::Bytes(_) | Value::Other) => {}
            }
        }
        let partition_key = partition_key.ok_or(Malformed)?;
        Ok(Self { partition_key, explicit_hash_key, data: content.ok_or(Malformed)? })
    }
}

/// A Tag says nothing to anybody, but without its key it is none.
fn check_tag(data: &[u8], span: Span) -> Result<(), Malformed> {
    let (mut fields, mut has_key) = (Fields::new(data, span), false);
    while let Some(field) = fields.next()? {
        has_key |= matches!(field, (1, Value::Bytes(_)));
    }
    has_key.then_some(()).ok_or(Malformed)
}

fn table_index(index: u64) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Span {
    /// `None` for what reaches behind 4 GiB.
    pub fn new(start: usize, length: usize) -> Option<Self> {
        let end = u32::try_from(start.checked_add(length)?).ok()?;
        Some(Self { start: u32::try_from(start).ok()?, end })
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes, in what it was read from.
    pub fn of(self, data: &[u8]) -> &[u8] {
        &data[self.start as usize..self.end as usize]
    }
}

/// The fields of a message, one after the other.
struct Fields<'a> {
    rest: &'a [u8],
    /// Where `rest` ends in the data.
    end: usize,
}

enum Value {
    Varint(u64),
    Bytes(Span),
    /// Fixed-size numbers and groups, which no field of these messages is.
    Other,
}

impl<'a> Fields<'a> {
    fn new(data: &'a [u8], span: Span) -> Self {
        Self { rest: span.of(data), end: span.end as usize }
    }

    fn next(&mut self) -> Result<Option<(u32, Value)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = decode_key(&mut self.rest).map_err(|_| Malformed)?;
        let value = match wire_type {
            WireType::Varint => Value::Varint(self.varint()?),
            WireType::LengthDelimited => Value::Bytes(self.bytes()?),
            WireType::SixtyFourBit | WireType::StartGroup | WireType::EndGroup | WireType::ThirtyTwoBit => {
                let skipped = skip_field(wire_type, number, &mut self.rest, DecodeContext::default());
                skipped.map_err(|_| Malformed)?;
                Value::Other
            }
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        decode_varint(&mut self.rest).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<Span, Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        let start = self.end - self.rest.len();
        self.rest = self.rest.get(length..).ok_or(Malformed)?;
        Span::new(start, length).ok_or(Malformed)
    }
}
