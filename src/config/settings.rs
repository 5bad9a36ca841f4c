//! Files of `key = value` lines: sysctl.d(5), environment files, TOML as used by containerd. Section headers
//! and the shell's `export` are skipped.

use super::word::Word;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'t> {
    pub(crate) key: Word<'t>,
    /// Value without quotes, including lines continued by a backslash.
    pub(crate) value: Word<'t>,
}

pub(super) fn read(text: Word<'_>) -> Vec<Setting<'_>> {
    let mut found = Vec::new();
    let mut end = text.at;
    for line in text.lines() {
        let trimmed = line.trim();
        if line.at < end || trimmed.text.is_empty() || trimmed.text.starts_with(['#', ';', '[']) {
            continue;
        }
        let whole = text.from(line.at - text.at);
        let line = whole.part(0..continued(whole.text)).trim();
        end = line.at + line.text.len();
        if let Some((key, value)) = line.split_once('=') {
            let key = key.trim();
            let key =
                key.text.strip_prefix("export ").map_or(key, |name| key.from(key.text.len() - name.len()));
            found.push(Setting { key, value: value.trim().unquoted() });
        }
    }
    found
}

/// Returns the length of the line at the start of `text`, including lines continued by backslashes.
fn continued(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        length += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    length
}
