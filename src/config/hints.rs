//! `buffering` and `compression`, for a destination or a backup alike.

use std::time::Duration;

use super::map::Map;
use super::model::{BufferingHints, Compression};
use super::reader::Value;

const MB: f64 = 1024.0 * 1024.0;

/// Firehose's own defaults, for plain objects and for format conversion.
pub(super) const BUFFERING_DEFAULT: BufferingHints =
    BufferingHints { size: 5 * 1024 * 1024, interval: Duration::from_secs(300) };
pub(super) const BUFFERING_OF_CONVERSION_DEFAULT: BufferingHints =
    BufferingHints { size: 128 * 1024 * 1024, ..BUFFERING_DEFAULT };

/// Where no level is given; each counts on its own codec's scale.
pub(super) const GZIP_LEVEL_DEFAULT: u8 = 1;
pub(super) const ZIP_LEVEL_DEFAULT: u8 = 6;
pub(super) const ZSTD_LEVEL_DEFAULT: u8 = 1;

const LOW_LATENCY_HELP: &str = "`low_latency: true` beside it allows `size_mb` from 0.1 and `interval_seconds` from 0, \
                                for tests and where small objects are worth their cost";

/// `buffering` of `parent`; what it does not say comes from `default`.
pub(super) fn buffering(parent: &Map<'_>, default: BufferingHints) -> Option<BufferingHints> {
    let Some(value) = parent.get("buffering") else { return Some(default) };
    let hints = value.map(&["size_mb", "interval_seconds", "low_latency"])?;
    let low_latency = hints.get_or("low_latency", false, Value::boolean)?;
    let (size_min, help) = if low_latency { (0.1, None) } else { (1.0, Some(LOW_LATENCY_HELP)) };
    let size = hints.get_or("size_mb", default.size, |value| {
        value.decimal(size_min..=128.0, "", help).map(|size_mb| (size_mb * MB).round() as u64)
    });
    let interval = hints.get_or("interval_seconds", default.interval, |value| interval(value, low_latency));
    Some(BufferingHints { size: size?, interval: interval? })
}

fn interval(value: &Value<'_>, low_latency: bool) -> Option<Duration> {
    if low_latency {
        return value.decimal(0.0..=900.0, " of seconds", None).map(Duration::from_secs_f64);
    }
    value
        .whole_or(60..=900, " of seconds", Some(LOW_LATENCY_HELP))
        .map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
}

/// `compression` of `parent`: a format's name, or a mapping of the name to its level.
pub(super) fn compression(parent: &Map<'_>) -> Option<Compression> {
    const FORMATS: [(&str, Compression); 6] = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip { level: GZIP_LEVEL_DEFAULT }),
        ("snappy", Compression::Snappy),
        ("hadoop_snappy", Compression::HadoopSnappy),
        ("zip", Compression::Zip { level: ZIP_LEVEL_DEFAULT }),
        ("zstd", Compression::Zstd { level: ZSTD_LEVEL_DEFAULT }),
    ];
    const LEVELLED: &[&str] = &["gzip", "zip", "zstd"];
    let Some(value) = parent.get("compression") else { return Some(Compression::None) };
    if !value.is_map() {
        return value.one_of(&FORMATS);
    }
    let (format, options) = value.map(LEVELLED)?.exactly_one(LEVELLED)?;
    let options = options.map(&["level"])?;
    let level = |level_max, default| {
        options.get_or("level", default, |value| u8::try_from(value.whole(1..=level_max, "")?).ok())
    };
    match format {
        "gzip" => Some(Compression::Gzip { level: level(12, GZIP_LEVEL_DEFAULT)? }),
        "zip" => Some(Compression::Zip { level: level(9, ZIP_LEVEL_DEFAULT)? }),
        _ => Some(Compression::Zstd { level: level(19, ZSTD_LEVEL_DEFAULT)? }),
    }
}
