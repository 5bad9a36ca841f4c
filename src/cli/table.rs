//! Formats text in columns and paragraphs.

/// Aligns `rows` in columns separated by two spaces; the last column is not padded.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Wraps words into lines of at most 100 characters, indented by `indent` spaces.
pub(super) fn paragraph(indent: usize, words: &[String]) -> String {
    const WIDTH: usize = 100;
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::{columns, paragraph};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
        assert_eq!(columns(&[row("a", "b"), row("äöü", "")]), "a    b\näöü\n");
    }

    #[test]
    fn a_long_list_is_broken_between_words() {
        let words = vec!["word".repeat(10); 3];
        assert_eq!(paragraph(2, &words).lines().count(), 2);
    }
}
