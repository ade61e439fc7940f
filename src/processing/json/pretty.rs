//! JSON in several lines, as Kinesis Agent's PRETTYPRINT writes it: two blanks for each object around a member, lists in
//! one line.
//!
//! Invariant: only white space between the parts is added, and no more than a record may have.

use super::super::Failure;
use super::super::json_scan::string_len;
use super::OUTPUT_BYTES_MAX;

/// Writes a valid text that has no white space between its parts.
pub fn push(out: &mut Vec<u8>, compact: &[u8]) -> Result<(), Failure> {
    let (start, mut objects, mut rest) = (out.len(), 0, compact);
    // Whether what encloses the present place is an object, outermost first.
    let mut nesting = Vec::new();
    while let Some(&byte) = rest.first() {
        let mut len = 1;
        match (byte, rest.get(1)) {
            (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                out.extend_from_slice(&[byte, b' ', rest[1]]);
                len = 2;
            }
            (b'{', _) => {
                nesting.push(true);
                objects += 1;
                out.push(byte);
                push_line(out, objects);
            }
            (b'}', _) => {
                nesting.pop();
                objects -= 1;
                push_line(out, objects);
                out.push(byte);
            }
            (b'[', _) => {
                nesting.push(false);
                out.extend_from_slice(b"[ ");
            }
            (b']', _) => {
                nesting.pop();
                out.extend_from_slice(b" ]");
            }
            (b',', _) if nesting.last() == Some(&true) => {
                out.push(byte);
                push_line(out, objects);
            }
            (b',', _) => out.extend_from_slice(b", "),
            (b':', _) => out.extend_from_slice(b" : "),
            (b'"', _) => {
                len = string_len(rest);
                out.extend_from_slice(&rest[..len]);
            }
            _ => out.push(byte),
        }
        rest = &rest[len..];
        // Many members deep down would each repeat their indentation.
        if out.len() - start > OUTPUT_BYTES_MAX {
            return Err(Failure::new(format!(
                "the record is more than {} MB with indentation",
                OUTPUT_BYTES_MAX >> 20
            )));
        }
    }
    Ok(())
}

fn push_line(out: &mut Vec<u8>, objects: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * objects, b' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pretty(compact: &str) -> Result<String, Failure> {
        let mut out = Vec::new();
        push(&mut out, compact.as_bytes())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn members_have_lines_of_their_own() {
        let expected = r#"{
  "a" : "x,{\"}",
  "b" : [ 1, {
    "c" : null
  }, [ ] ],
  "d" : {
    "e" : -1.50e3
  },
  "f" : { }
}"#;
        let compact = r#"{"a":"x,{\"}","b":[1,{"c":null},[]],"d":{"e":-1.50e3},"f":{}}"#;
        assert_eq!(pretty(compact).unwrap(), expected);
        assert_eq!(pretty("{}").unwrap(), "{ }");
    }

    #[test]
    fn indentation_has_a_limit() {
        let deep =
            [r#"{"":"#.repeat(100), format!("{{{}\"\":1}}", "\"\":1,".repeat(500_000)), "}".repeat(100)].concat();
        assert_eq!(pretty(&deep).unwrap_err().message, "the record is more than 64 MB with indentation");
    }

    proptest! {
        #[test]
        fn what_it_says_stays(members in prop::collection::btree_map(".{0,3}", prop::collection::vec(".{0,3}", 0..3), 0..4)) {
            let compact = serde_json::to_string(&members).unwrap();
            let again: std::collections::BTreeMap<String, Vec<String>> = serde_json::from_str(&pretty(&compact).unwrap()).unwrap();
            prop_assert_eq!(again, members);
        }
    }
}
