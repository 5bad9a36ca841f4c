//! Masks secrets in the lines of files that messages show, because program output ends up in logs.

use std::ops::Range;

/// Lower-case words that precede a secret in keepalived, HAProxy, kubeadm, API server and Ansible files, and
/// in kubeconfigs.
const BEFORE: [&str; 11] = [
    "auth_pass",
    "become_pass",
    "ssh_pass",
    "password",
    "passwd",
    "token",
    "secret",
    "certificate-key",
    "certificatekey",
    "client-key-data",
    "stats auth",
];
/// File name suffixes of files that contain only secrets.
const FILES: [&str; 3] = [".csv", ".key", ".pem"];

/// Returns the text of a file with each byte of a secret replaced by `*`; offsets do not change.
pub(super) fn masked(path: &str, text: &str) -> String {
    if FILES.iter().any(|end| path.ends_with(end)) {
        return text
            .chars()
            .map(|letter| if letter == '\n' { "\n".into() } else { "*".repeat(letter.len_utf8()) })
            .collect();
    }
    text.split_inclusive('\n').map(line).collect()
}

fn line(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut shown = text.to_owned();
    for word in BEFORE {
        for (start, _) in lower.match_indices(word) {
            let begins = !lower[..start].ends_with(|letter: char| letter.is_ascii_alphanumeric());
            if let Some(value) = value(&text[start + word.len()..]).filter(|_| begins) {
                let from = start + word.len() + value.start;
                shown.replace_range(from..from + value.len(), &"*".repeat(value.len()));
            }
        }
    }
    shown
}

/// Returns the range of the value in the text that follows a setting's name, unless the name continues there.
/// A quoted value ends at the closing quote.
fn value(rest: &str) -> Option<Range<usize>> {
    let found = rest.trim_start_matches([' ', '\t', ':', '=', '"', '\'']);
    let start = rest.len() - found.len();
    let quote = rest[..start].chars().last().filter(|letter| "\"'".contains(*letter));
    let ends = |letter: char| {
        quote.map_or(" \t,;\"'".contains(letter), |quote| letter == quote) || "\r\n".contains(letter)
    };
    let end = found.find(ends).unwrap_or(found.len());
    (start > 0 && end > 0).then_some(start..start + end)
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn values_of_secret_settings_are_stars_and_nothing_else_moves() {
        for (line, shown) in [
            ("        auth_pass 1111", "        auth_pass ****"),
            ("  stats auth admin:pässword", "  stats auth ***************"),
            ("- token: \"abcdef.0123\" # ours", "- token: \"***********\" # ours"),
            (
                "kubeadm join 10.0.0.10:8443 --token abc.def --certificate-key=9a3b -v 5",
                "kubeadm join 10.0.0.10:8443 --token ******* --certificate-key=**** -v 5",
            ),
            ("BOOTSTRAP_TOKEN=c47ffb\r\n", "BOOTSTRAP_TOKEN=******\r\n"),
            ("m1 ansible_ssh_pass='x y' ansible_user=root", "m1 ansible_ssh_pass='***' ansible_user=root"),
            ("--token-auth-file=/etc/kubernetes/token.csv", "--token-auth-file=/etc/kubernetes/token.csv"),
            ("kind: Secret\n", "kind: Secret\n"),
            ("secretName: web", "secretName: web"),
            ("    secret: c2VjcmV0", "    secret: ********"),
        ] {
            let seen = masked("etc/x.conf", line);
            assert_eq!(seen, shown);
            assert_eq!(seen.len(), line.len());
        }
        assert_eq!(masked("etc/kubernetes/token.csv", "c47,ü,1\n"), "********\n");
    }
}
