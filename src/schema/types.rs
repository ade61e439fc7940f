//! Column types as Glue and Hive write them: `array<struct<id:bigint,price:decimal(10,2)>>`.
//!
//! Always true: what [`Type`]'s `Display` writes, its `FromStr` reads as the same type.

use std::fmt;
use std::str::FromStr;

/// The most digits that a decimal has: what 16 bytes hold.
pub const PRECISION_MAX: u8 = 38;
/// As in Hive.
const CHAR_MAX: u32 = 255;
const VARCHAR_MAX: u32 = 65_535;
/// Deeper nesting is refused, so that nothing recursive can exhaust a stack.
const DEPTH_MAX: usize = 32;

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    Boolean,
    /// 8 bits.
    TinyInt,
    /// 16 bits.
    SmallInt,
    /// 32 bits; `integer` is the same.
    Int,
    /// 64 bits.
    BigInt,
    Float,
    Double,
    /// `decimal` alone is `decimal(10,0)`. `1 <= precision <= 38`, `scale <= precision`.
    Decimal {
        precision: u8,
        scale: u8,
    },
    String,
    /// At most so many characters.
    Char(u32),
    /// At most so many characters.
    Varchar(u32),
    Binary,
    /// Days, without a zone.
    Date,
    /// An instant.
    Timestamp,
    Array(Box<Type>),
    /// Key, which is no array, map or struct, and value.
    Map(Box<Type>, Box<Type>),
    Struct(Vec<Field>),
}

/// A member of a struct. Names are unique without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub name: String,
    pub data_type: Type,
}

impl Type {
    /// Whether values have no parts.
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Map(..) | Self::Struct(_))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Char(length) => write!(f, "char({length})"),
            Self::Varchar(length) => write!(f, "varchar({length})"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Array(item) => write!(f, "array<{item}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (index, Field { name, data_type }) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    match is_plain(name) {
                        true => write!(f, "{comma}{name}:{data_type}")?,
                        false => write!(f, "{comma}`{name}`:{data_type}")?,
                    }
                }
                f.write_str(">")
            }
        }
    }
}

/// Whether a name needs no backticks.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '@'))
}

/// Why a text is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no column type: {reason}, at character {at}")]
pub struct TypeError {
    pub text: String,
    pub reason: String,
    /// From 1.
    pub at: usize,
}

impl FromStr for Type {
    type Err = TypeError;

    /// Reads a type without regard to the case of its words; blanks around words and signs do not matter.
    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = Parser { text, at: 0 };
        let parsed = parser.data_type(0).and_then(|parsed| match parser.rest().is_empty() {
            true => Ok(parsed),
            false => Err(String::from("nothing may follow the type")),
        });
        parsed.map_err(|reason| {
            let at = text.get(..parser.at).map_or(0, |before| before.chars().count()) + 1;
            TypeError { text: text.to_owned(), reason, at }
        })
    }
}

/// A cursor in a type's text.
struct Parser<'a> {
    text: &'a str,
    /// A character boundary.
    at: usize,
}

impl<'a> Parser<'a> {
    /// What is left after blanks.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, sign: char) -> bool {
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len_utf8() } else { 0 };
        is_next
    }

    fn expect(&mut self, sign: char) -> Result<(), String> {
        if self.take(sign) { Ok(()) } else { Err(format!("`{sign}` is expected")) }
    }

    /// Up to one of the signs that separate words.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find([',', ':', '<', '>', '(', ')']).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default().trim_end();
        self.at += word.len();
        word
    }

    /// A field's name may stand in backticks, as in Hive's DDL, and may then have any sign but a backtick in it.
    fn name(&mut self) -> Result<String, String> {
        let name = if self.take('`') {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let (name, _) = rest.split_once('`').ok_or("the closing backtick is missing")?;
            self.at += name.len() + 1;
            name
        } else {
            self.word()
        };
        if name.is_empty() { Err(String::from("a field's name is expected")) } else { Ok(name.to_owned()) }
    }

    fn number(&mut self, what: &str, min: u32, max: u32) -> Result<u32, String> {
        let at = self.at;
        let number = self.word().parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| {
            self.at = at;
            format!("{what} is a number from {min} to {max}")
        })
    }

    fn data_type(&mut self, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_MAX {
            return Err(format!("types are nested more than {DEPTH_MAX} deep"));
        }
        self.rest();
        let at = self.at;
        let word = self.word();
        Ok(match word.to_ascii_lowercase().as_str() {
            "boolean" => Type::Boolean,
            "tinyint" => Type::TinyInt,
            "smallint" => Type::SmallInt,
            "int" | "integer" => Type::Int,
            "bigint" => Type::BigInt,
            "float" => Type::Float,
            "double" => Type::Double,
            "decimal" => self.decimal()?,
            "string" => Type::String,
            "char" => Type::Char(self.length(CHAR_MAX)?),
            "varchar" => Type::Varchar(self.length(VARCHAR_MAX)?),
            "binary" => Type::Binary,
            "date" => Type::Date,
            "timestamp" => Type::Timestamp,
            "array" => {
                self.expect('<')?;
                let item = self.data_type(depth + 1)?;
                self.expect('>')?;
                Type::Array(Box::new(item))
            }
            "map" => self.map(depth)?,
            "struct" => self.structure(depth)?,
            unknown => {
                self.at = at;
                return Err(refused(unknown));
            }
        })
    }

    fn decimal(&mut self) -> Result<Type, String> {
        if !self.take('(') {
            return Ok(Type::Decimal { precision: 10, scale: 0 });
        }
        let precision = self.number("a decimal's precision", 1, u32::from(PRECISION_MAX))?;
        let scale = if self.take(',') { self.number("its scale", 0, precision)? } else { 0 };
        self.expect(')')?;
        Ok(Type::Decimal { precision: precision as u8, scale: scale as u8 })
    }

    fn length(&mut self, max: u32) -> Result<u32, String> {
        self.expect('(')?;
        let length = self.number("the length", 1, max)?;
        self.expect(')')?;
        Ok(length)
    }

    fn map(&mut self, depth: usize) -> Result<Type, String> {
        self.expect('<')?;
        self.rest();
        let at = self.at;
        let key = self.data_type(depth + 1)?;
        if !key.is_primitive() {
            self.at = at;
            return Err(String::from("a map's key is of a primitive type"));
        }
        self.expect(',')?;
        let value = self.data_type(depth + 1)?;
        self.expect('>')?;
        Ok(Type::Map(Box::new(key), Box::new(value)))
    }

    fn structure(&mut self, depth: usize) -> Result<Type, String> {
        self.expect('<')?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            self.rest();
            let at = self.at;
            let name = self.name()?;
            if fields.iter().any(|field| field.name.eq_ignore_ascii_case(&name)) {
                self.at = at;
                return Err(format!("the struct has a field `{name}` already"));
            }
            self.expect(':')?;
            let data_type = self.data_type(depth + 1)?;
            fields.push(Field { name, data_type });
            if !self.take(',') {
                self.expect('>')?;
                return Ok(Type::Struct(fields));
            }
        }
    }
}

fn refused(word: &str) -> String {
    let known = "boolean, tinyint, smallint, int, bigint, float, double, decimal, string, char, varchar, binary, date, \
                 timestamp, array, map and struct";
    match word {
        "" => format!("a type is expected: {known}"),
        "uniontype" => String::from("Parquet has no unions: make it a struct with one field for each alternative"),
        "void" | "null" => String::from("a column without a type holds nothing: leave it out"),
        _ => format!("`{word}` is none of {known}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Type {
        text.parse().unwrap()
    }

    #[test]
    fn all_of_hives_words_are_read() {
        assert_eq!(parse("INTEGER"), Type::Int);
        assert_eq!(parse("decimal"), Type::Decimal { precision: 10, scale: 0 });
        assert_eq!(parse("decimal(5)"), Type::Decimal { precision: 5, scale: 0 });
        let nested = parse(" Map< string , array<struct<`a b`:int, C : Decimal( 38 , 10 )>> > ");
        assert_eq!(parse("map<string,array<struct<`a b`:int,C:decimal(38,10)>>>"), nested);
    }

    #[test]
    fn what_is_no_type_is_refused_with_its_place() {
        let refused = [
            ("", "a type is expected", 1),
            ("intt", "`intt` is none of boolean", 1),
            ("array<int", "`>` is expected", 10),
            ("array<uniontype<int>>", "Parquet has no unions", 7),
            ("decimal(39,1)", "from 1 to 38", 9),
            ("decimal(4,5)", "its scale is a number from 0 to 4", 11),
            ("struct<a:int,A:int>", "has a field `A` already", 14),
            ("map<array<int>,int>", "a map's key", 5),
            ("struct<>", "a field's name", 8),
            ("struct<ä:wat>", "`wat` is none", 10),
            ("int int", "is none of", 1),
            ("int)", "nothing may follow", 4),
        ];
        for (text, reason, at) in refused {
            let error = text.parse::<Type>().unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
        assert!("array<".repeat(100).parse::<Type>().unwrap_err().reason.contains("nested"));
    }

    fn any_type() -> impl Strategy<Value = Type> {
        let leaf = prop_oneof![
            Just(Type::Boolean),
            Just(Type::BigInt),
            Just(Type::Timestamp),
            (1..=255u32).prop_map(Type::Char),
            (1..=38u8)
                .prop_flat_map(|precision| (Just(precision), 0..=precision))
                .prop_map(|(precision, scale)| Type::Decimal { precision, scale }),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| Type::Array(Box::new(item))),
                inner.clone().prop_map(|value| Type::Map(Box::new(Type::String), Box::new(value))),
                prop::collection::btree_map("[a-z_ ,:<>é-]{1,5}", inner, 1..4).prop_map(|fields| {
                    let field = |(name, data_type)| Field { name, data_type };
                    Type::Struct(fields.into_iter().map(field).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_written_type_is_read_as_itself(data_type in any_type()) {
            prop_assert_eq!(data_type.to_string().parse::<Type>(), Ok(data_type));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z<>(),:` 0-9]{0,40}") {
            let _ = text.parse::<Type>();
        }
    }
}
