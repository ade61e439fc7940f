//! What a record should become, written again as simply as possible: serde_json parses, text arithmetic does the rest.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::schema::{Column, Type};

pub(super) use indexed::Order;

/// The row that OpenX with its defaults makes of one object; `None` if it does not fit.
pub(super) fn row(record: &str, schema: &[Column]) -> Option<Json> {
    let members = members(record)?;
    let mut row = serde_json::Map::new();
    for column in schema {
        let value = members.get(&column.name).map_or(Some(Json::Null), |value| model(value, &column.data_type))?;
        row.insert(column.name.clone(), value);
    }
    Some(Json::Object(row))
}

/// By keys in lower case; the last of equal ones.
fn members(text: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    // In the record's order, so that of `A` and `a` the last wins as well.
    struct Members(Vec<(String, Box<RawValue>)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    let members: Members = serde_json::from_str(text).ok()?;
    Some(members.0.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect())
}

fn model(raw: &RawValue, data_type: &Type) -> Option<Json> {
    let text = raw.get().trim();
    if text == "null" {
        return Some(Json::Null);
    }
    let string: Option<String> = serde_json::from_str(text).ok();
    // A number, or text that is to be one.
    let number = match &string {
        Some(string) => is_number(string).then(|| string.clone()),
        None => is_number(text).then(|| text.to_owned()),
    };
    let integer = |min: i64, max: i64| {
        let (digits, left) = scaled(number.as_ref()?, 0)?;
        let value: i128 = digits.parse().ok()?;
        (left.bytes().all(|digit| digit == b'0') && (i128::from(min)..=i128::from(max)).contains(&value))
            .then(|| json!(value as i64))
    };
    match data_type {
        Type::Boolean => match text.trim_matches('"').to_ascii_lowercase().as_str() {
            "true" if string.is_some() || text == "true" => Some(json!(true)),
            "false" if string.is_some() || text == "false" => Some(json!(false)),
            _ => None,
        },
        Type::TinyInt => integer(i8::MIN.into(), i8::MAX.into()),
        Type::SmallInt => integer(i16::MIN.into(), i16::MAX.into()),
        Type::Int => integer(i32::MIN.into(), i32::MAX.into()),
        Type::BigInt => integer(i64::MIN, i64::MAX),
        Type::Float | Type::Double if string.as_deref() == Some("NaN") => Some(json!("NaN")),
        Type::Float => number?.parse::<f32>().ok().filter(|value| value.is_finite()).map(|value| json!(value)),
        Type::Double => number?.parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| json!(value)),
        &Type::Decimal { precision, scale } => {
            let (digits, left) = scaled(&number?, scale.into())?;
            let mut value: i128 = digits.parse().ok()?;
            if left.as_bytes().first().is_some_and(|digit| *digit >= b'5') {
                value += if digits.starts_with('-') { -1 } else { 1 };
            }
            (value.to_string().trim_start_matches('-').len() <= precision.into()).then(|| json!(value.to_string()))
        }
        Type::String => Some(json!(string.unwrap_or_else(|| compact(text)))),
        Type::Char(max) | Type::Varchar(max) => {
            let text = string.unwrap_or_else(|| compact(text));
            (text.chars().count() <= *max as usize).then(|| json!(text))
        }
        Type::Binary => None,
        Type::Date => {
            let string = string?;
            let parts: Vec<_> = string.split('-').collect();
            let [year, month, day] = parts.as_slice() else { return None };
            (year.len() == 4).then_some(())?;
            let date = date(year, month, day)?;
            Some(json!(date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).ok()?.get_days()))
        }
        Type::Timestamp => match string {
            Some(string) => time(&string).or_else(|| epoch(&string)),
            None => epoch(text),
        },
        Type::Array(item) => match serde_json::from_str::<Vec<Box<RawValue>>>(text) {
            Ok(items) => items.iter().map(|value| model(value, item)).collect::<Option<Vec<_>>>().map(Json::Array),
            Err(_) => Some(json!([model(raw, item)?])),
        },
        Type::Map(_, item) => {
            let members = members(text)?;
            let members = members.iter().map(|(key, value)| Some((key.clone(), model(value, item)?)));
            members.collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
        }
        Type::Struct(fields) => {
            let values: Vec<Option<Box<RawValue>>> = match serde_json::from_str::<Vec<Box<RawValue>>>(text) {
                Ok(items) => items.into_iter().map(Some).collect(),
                Err(_) => {
                    let mut members = members(text)?;
                    fields.iter().map(|field| members.remove(&field.name)).collect()
                }
            };
            let value = |index: usize| values.get(index).and_then(Option::as_ref);
            let mut members = serde_json::Map::new();
            for (index, field) in fields.iter().enumerate() {
                let value = value(index).map_or(Some(Json::Null), |value| model(value, &field.data_type))?;
                members.insert(field.name.clone(), value);
            }
            Some(Json::Object(members))
        }
    }
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0 && digits(exponent) && !exponent.is_empty()
}

/// The digits before the point after a shift of the point by so many places, with the sign, and those behind it. `None` if
/// there would be more than 60.
fn scaled(text: &str, places: i64) -> Option<(String, String)> {
    let sign = if text.starts_with('-') { "-" } else { "" };
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { -9999 } else { 9999 });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.bytes().all(|digit| digit == b'0') {
        return Some((String::from("0"), String::new()));
    }
    let point = whole.len() as i64 + exponent + places;
    if point > 60 {
        return None;
    }
    let digits = if point > digits.len() as i64 {
        format!("{digits}{}", "0".repeat(point as usize - digits.len()))
    } else {
        digits
    };
    let (before, behind) = if point <= 0 {
        (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs().min(10_000) as usize)))
    } else {
        let (before, behind) = digits.split_at(point as usize);
        (before.to_owned(), behind.to_owned())
    };
    Some((format!("{sign}0{before}"), behind))
}

fn compact(text: &str) -> String {
    // Blanks outside of strings go, keys become lower-case, of equal ones the last stays where the first one was.
    if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        let items: Vec<_> = items.iter().map(|item| compact(item.get())).collect();
        return format!("[{}]", items.join(","));
    }
    if text.starts_with('{') {
        let order: indexed::Order = serde_json::from_str(text).unwrap();
        let members = members(text).unwrap();
        let mut seen = Vec::new();
        for key in order.0 {
            let key = key.to_lowercase();
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        let members: Vec<_> =
            seen.iter().map(|key| format!("{}:{}", json!(key), compact(members[key].get()))).collect();
        return format!("{{{}}}", members.join(","));
    }
    match serde_json::from_str::<String>(text) {
        Ok(string) => json!(string).to_string(),
        Err(_) => text.to_owned(),
    }
}

mod indexed {
    //! An object's keys in their order.

    pub struct Order(pub Vec<String>);

    impl<'de> serde::Deserialize<'de> for Order {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Order;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Order, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                        keys.push(key);
                    }
                    Ok(Order(keys))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
}

fn short(text: &str) -> Option<i8> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn date(year: &str, month: &str, day: &str) -> Option<jiff::civil::Date> {
    let year = year.bytes().all(|byte| byte.is_ascii_digit()).then(|| year.parse().ok())??;
    jiff::civil::Date::new(year, short(month)?, short(day)?).ok()
}

/// Firehose's two forms.
fn time(text: &str) -> Option<Json> {
    let is_iso = text.contains('T');
    let (day, rest) = text.split_once(if is_iso { 'T' } else { ' ' })?;
    let rest = if is_iso { rest.strip_suffix('Z')? } else { rest };
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let day: Vec<_> = day.split('-').collect();
    let clock: Vec<_> = clock.split(':').collect();
    let ([year, month, of_month], [hour, minute, second]) = (day.as_slice(), clock.as_slice()) else { return None };
    let has_width = |text: &&str| text.len() == 2;
    if year.len() != 4 || (is_iso && ![month, of_month, hour, minute, second].into_iter().all(has_width)) {
        return None;
    }
    if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hour, minute, second) = (short(hour)?, short(minute)?, short(second)?);
    if second > 59 {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    let time = jiff::civil::Time::new(hour, minute, second, nanos).ok()?;
    let time = date(year, month, of_month)?.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    // Downwards, as the digits are cut.
    Some(json!(time.timestamp().as_nanosecond().div_euclid(1000) as i64))
}

fn epoch(text: &str) -> Option<Json> {
    if !is_number(text) {
        return None;
    }
    let (whole, _) = scaled(text, 0)?;
    let is_seconds = whole.parse::<i128>().ok()?.abs() < 1_000_000_000_000;
    let (micros, _) = scaled(text, if is_seconds { 6 } else { 3 })?;
    Some(json!(i64::try_from(micros.parse::<i128>().ok()?).ok()?))
}
