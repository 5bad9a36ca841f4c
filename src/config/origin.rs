//! Mapping of a position in a rendered file to the position in its template.

use std::ops::Range;

/// Returns the part of `source` that produced `span` of `text`: `span` itself if the file is not a template,
/// otherwise the template line that matches best.
///
/// A template line matches if its text outside `{{ … }}` and `{% … %}` occurs in the rendered line in that
/// order. A line with more literal text matches better; among equals, the line nearest to the rendered line's
/// position matches best.
pub(super) fn place(text: &str, source: &str, span: Range<usize>) -> Range<usize> {
    // Most files are their own source and share its text.
    if std::ptr::eq(text, source) || text == source {
        return span;
    }
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    if let Some(line) = line_by_line(text, source, text[..start].matches('\n').count()) {
        let unchanged = source[line.clone()] == *text[start..].lines().next().unwrap_or_default()
            && start + line.len() >= span.end;
        return if unchanged {
            line.start + (span.start - start)..line.start + (span.end - start)
        } else {
            trimmed(source, line)
        };
    }
    let line = text[start..].lines().next().unwrap_or_default();
    let expected = text[..start].matches('\n').count() as f64 / text.lines().count().max(1) as f64;
    let total = source.lines().count().max(1) as f64;
    let mut best: Option<(usize, f64, Range<usize>)> = None;
    let mut at = 0;
    for (index, candidate) in source.split_inclusive('\n').enumerate() {
        let trimmed = candidate.trim();
        let begin = at + candidate.len() - candidate.trim_start().len();
        at += candidate.len();
        let Some(literal) = fit(trimmed, line.trim()) else { continue };
        let distance = (index as f64 / total - expected).abs();
        if best
            .as_ref()
            .is_none_or(|(most, nearest, _)| literal > *most || (literal == *most && distance < *nearest))
        {
            best = Some((literal, distance, begin..begin + trimmed.len()));
        }
    }
    best.map_or(0..0, |(_, _, range)| range)
}

/// Returns the line of `source` with this number, if every line of the text was produced by the line with the
/// same number.
fn line_by_line(text: &str, source: &str, number: usize) -> Option<Range<usize>> {
    const EXPRESSIONS: [&str; 4] = ["$", "##", "<", "{{"];
    let made =
        |(line, origin): (&str, &str)| line == origin || EXPRESSIONS.iter().any(|open| origin.contains(open));
    let same = text.lines().count() == source.lines().count() && text.lines().zip(source.lines()).all(made);
    let begin = source.split_inclusive('\n').take(number).map(str::len).sum();
    same.then(|| begin..begin + source[begin..].lines().next().unwrap_or_default().len())
}

fn trimmed(source: &str, line: Range<usize>) -> Range<usize> {
    let text = &source[line.clone()];
    let begin = line.start + text.len() - text.trim_start().len();
    begin..begin + text.trim().len()
}

/// Returns the number of literal bytes of `template` if its literals occur in `line`, in order; otherwise
/// `None`.
fn fit(template: &str, line: &str) -> Option<usize> {
    // Statements and comments produce no output.
    if template.is_empty() != line.is_empty()
        || (!template.contains("{{") && pieces(template).concat().is_empty())
    {
        return None;
    }
    let (mut rest, mut literal) = (line, 0);
    for (index, piece) in pieces(template).into_iter().enumerate() {
        let at = rest.find(piece)?;
        // A leading literal must be at the start of the line.
        if index == 0 && at > 0 {
            return None;
        }
        literal += piece.len();
        rest = &rest[at + piece.len()..];
    }
    (rest.is_empty() || template.ends_with('}')).then_some(literal)
}

/// Returns the literal parts of a template line, around its expressions.
fn pieces(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(open) = ["{{", "{%", "{#"].iter().filter_map(|bracket| rest.find(bracket)).min() {
        found.push(&rest[..open]);
        let close = ["}}", "%}", "#}"].iter().filter_map(|bracket| rest[open..].find(bracket)).min();
        rest = close.map_or("", |close| &rest[open + close + 2..]);
    }
    found.push(rest);
    found
}

#[cfg(test)]
mod tests {
    use super::place;

    fn placed<'s>(text: &str, source: &'s str, wanted: &str) -> &'s str {
        let at = text.find(wanted).unwrap();
        &source[place(text, source, at..at + wanted.len())]
    }

    #[test]
    fn a_rendered_line_leads_to_the_line_of_the_template_that_wrote_it() {
        let source = "{% if lb %}\ninterval 3\n{% endif %}\npriority {{ node.priority }}\n{% for peer in \
            peers %}\n    {{ peer }}\n{% endfor %}\n# end {# x #}\n";
        let text = "\ninterval 3\n\npriority 254\n\n    10.0.0.12\n\n    10.0.0.13\n\n# end \n";
        for (wanted, line) in
            [("interval", "interval 3"), ("254", "priority {{ node.priority }}"), ("10.0.0.13", "{{ peer }}")]
        {
            assert_eq!(placed(text, source, wanted), line, "{wanted}");
        }
    }

    #[test]
    fn a_line_that_was_filled_in_leads_to_itself() {
        let (source, text) = ("a\n  vip ${VIP}\nvip\n", "a\n  vip 10.0.0.10\nvip\n");
        assert_eq!(placed(text, source, "10.0.0.10"), "vip ${VIP}");
        assert_eq!(
            super::place(text, source, text.len() - 4..text.len() - 1),
            source.len() - 4..source.len() - 1
        );
    }

    #[test]
    fn a_file_that_is_no_template_is_its_own_source() {
        assert_eq!(placed("a b\n", "a b\n", "b"), "b");
    }

    #[test]
    fn what_one_expression_wrote_leads_to_that_expression() {
        assert_eq!(placed("a: 1\nb: 2\n", "{{ configuration | yaml }}", "b"), "{{ configuration | yaml }}");
    }
}
