//! Bad records among good ones.

/// Writes line `index` spoilt, if it is one of the `bad` in a hundred that are to be: cut in half, with text in place of a number,
/// or without its brace. Says whether it was.
pub fn spoil(line: &[u8], index: usize, bad: usize, out: &mut Vec<u8>) -> bool {
    // 37 has no divisor in common with 100, so that bad records do not stand together.
    if index * 37 % 100 >= bad {
        return false;
    }
    match index % 3 {
        0 => out.extend_from_slice(&line[..line.len() / 2]),
        1 => {
            let status = line.windows(9).position(|window| window == b"\"status\":").unwrap_or(0) + 9;
            out.extend_from_slice(&line[..status]);
            out.extend_from_slice(b"\"oops\"");
            out.extend_from_slice(&line[status + 3..]);
        }
        _ => out.extend_from_slice(&line[1..]),
    }
    true
}
