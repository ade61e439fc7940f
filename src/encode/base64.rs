//! Base64, with what the processor has for it: bodies of the HTTP endpoint and the error output consist of little else.

use std::sync::LazyLock;

use base64::Engine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::general_purpose::PAD;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::simd::Simd;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static STANDARD: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static STANDARD: LazyLock<GeneralPurpose> = LazyLock::new(|| GeneralPurpose::new(&base64::alphabet::STANDARD, PAD));

/// Appends what `data` is in the standard alphabet, padded.
pub fn append(data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    // The room is exactly what it takes.
    let written = STANDARD.encode_slice(data, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// What `data` is in the standard alphabet, padded.
pub fn text(data: &[u8]) -> String {
    STANDARD.encode(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_the_plain_way_makes(data in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let expected = general_purpose::STANDARD.encode(&data);
            prop_assert_eq!(&text(&data), &expected);
            let mut out = b"before".to_vec();
            append(&data, &mut out);
            prop_assert_eq!(out, format!("before{expected}").into_bytes());
        }
    }
}
