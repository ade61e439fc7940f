//! Rows on standard output: aligned on a terminal, else separated by tabs.

use std::io::{self, IsTerminal, Write};

pub(super) fn print<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let text = if stdout.is_terminal() { aligned(header, rows) } else { tab_separated(header, rows) };
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn tab_separated<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = header.join("\t") + "\n";
    for row in rows {
        text.push_str(&row.each_ref().map(|cell| clean(cell)).join("\t"));
        text.push('\n');
    }
    text
}

fn aligned<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A comment may hold what would end a column or a line.
fn clean(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_for_people_and_separated_for_programs() {
        let rows = [[String::from("a"), String::from("array<int>")], [String::from("long\tname"), String::from("x")]];
        assert_eq!(aligned(["name", "type"], &rows), "name       type\na          array<int>\nlong name  x\n");
        assert_eq!(tab_separated(["name", "type"], &rows), "name\ttype\na\tarray<int>\nlong name\tx\n");
    }
}
